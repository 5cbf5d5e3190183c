"""What pages of objects show, and the places in them that can be linked to."""

from sphinx import addnodes
from sphinx.application import Sphinx


def _skip_fields(app: Sphinx, kind: str, name: str, value: object, skip: bool, options: object) -> bool | None:
    """Leave out named tuples' "Alias for field number 0": the fields stand under Attributes."""
    return True if type(value).__name__ == "_tuplegetter" else None


def _add_anchors(app: Sphinx, doctree) -> None:
    """Second anchors for objects documented under the module that holds them.

    A page of source code links back to descriptions by one module name for all, which is the package where the module
    also holds an object that the package offers.
    """
    for signature in doctree.findall(addnodes.desc_signature):
        package, dot, _ = (signature.get("module") or "").partition(".")
        if dot and package == "mne_specmoe":
            signature["ids"].append(f"{package}.{signature['fullname']}")


def setup(app: Sphinx) -> dict:
    app.connect("autodoc-skip-member", _skip_fields)
    app.connect("doctree-read", _add_anchors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
