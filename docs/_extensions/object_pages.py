"""What pages of objects show, and the places in them that can be linked to."""

from sphinx import addnodes
from sphinx.application import Sphinx

import mne_specmoe


def _skip_fields(app: Sphinx, kind: str, name: str, value: object, skip: bool, options: object) -> bool | None:
    """Leave out named tuples' "Alias for field number 0": the fields stand under Attributes."""
    return True if type(value).__name__ == "_tuplegetter" else None


def _add_anchors(app: Sphinx, doctree) -> None:
    """Second anchors: under the package for objects documented under their module, and the other way round.

    A page of source code links back to descriptions by one module name for all, which is the one that the first object
    of the module is documented under.
    """
    for signature in doctree.findall(addnodes.desc_signature):
        package, dot, _ = (signature.get("module") or "").partition(".")
        if package == "mne_specmoe":
            name = signature["fullname"]
            signature["ids"].append(f"{package if dot else _home(name)}.{name}")


def _home(name: str) -> str:
    """Name of the module that holds an object that the package offers."""
    return getattr(mne_specmoe, name.partition(".")[0]).__module__


def setup(app: Sphinx) -> dict:
    app.connect("autodoc-skip-member", _skip_fields)
    app.connect("doctree-read", _add_anchors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
