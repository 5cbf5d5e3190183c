"""What the pages of the API reference document: the entries of their ``autosummary`` lists."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

_ENTRY = re.compile(r"   ~?(mne_specmoe\.[\w.]+)")


def documented_names(folder: Path) -> list[str]:
    """Full names of all objects in the lists of the pages in a folder, in the order of the pages."""
    return [name for page in sorted(folder.glob("*.rst")) for name in _entries(page.read_text(encoding="utf-8"))]


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Last part of a name → the name, where only one name has this last part."""
    names = list(names)
    counts = Counter(name.rpartition(".")[2] for name in names)
    return {short: name for name in names if counts[short := name.rpartition(".")[2]] == 1}


def _entries(page: str) -> list[str]:
    """Entries of a page's lists."""
    inside, found = False, []
    for line in page.splitlines():
        if line and not line.startswith(" "):
            inside = line.startswith(".. autosummary::")
        elif inside and (entry := _ENTRY.fullmatch(line)):
            found.append(entry.group(1))
    return found
