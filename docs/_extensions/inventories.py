"""Inventories of other projects, so that links to their pages need no network while the documentation is built.

A file ``PROJECT.txt`` lists what we refer to::

    https://mne.tools/stable/
    py:class generated/{}.html#{}
        mne.Epochs

First the address of the project's documentation, then for every kind of object the pattern of its address, where ``{}``
stands for the name, and below it the names. Where the address does not hold the name, ``NAME = PART`` gives what to
put there.
"""

import zlib
from pathlib import Path


def write_inventories(sources: Path, folder: Path) -> dict[str, tuple[str, str]]:
    """Write an ``.inv`` file for every list; return ``intersphinx_mapping``."""
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for source in sorted(sources.glob("*.txt")):
        url, objects = read_list(source.read_text(encoding="utf-8"))
        path = folder / f"{source.stem}.inv"
        path.write_bytes(_inventory(source.stem, objects))
        mapping[source.stem] = (url, str(path))
    return mapping


def read_list(text: str) -> tuple[str, list[tuple[str, str, str]]]:
    """The address of a project, and (name, kind, address below it) of its objects."""
    url, *lines = (line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    objects, kind, pattern = [], "", ""
    for line in lines:
        if not line.startswith(" "):
            kind, pattern = line.split()
            continue
        name, _, part = (each.strip() for each in line.partition(" = "))
        objects.append((name, kind, pattern.replace("{}", part or name)))
    return url, objects


def _inventory(project: str, objects: list[tuple[str, str, str]]) -> bytes:
    """Sphinx's format, version 2."""
    header = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
    header += "# The remainder of this file is compressed using zlib.\n"
    body = "".join(f"{name} {kind} 1 {address} -\n" for name, kind, address in objects)
    return header.encode() + zlib.compress(body.encode())
