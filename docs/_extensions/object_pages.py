"""What pages of objects show, and the places in them that can be linked to."""

from importlib import import_module

from sphinx import addnodes
from sphinx.application import Sphinx

_PACKAGE = "mne_specmoe"


def _skip_fields(app: Sphinx, kind: str, name: str, value: object, skip: bool, options: object) -> bool | None:
    """Leave out named tuples' "Alias for field number 0": the fields stand under Attributes."""
    return True if type(value).__name__ == "_tuplegetter" else None


def _add_anchors(app: Sphinx, doctree) -> None:
    """Second anchors for objects: under the package where they are documented under a module, and the other way round.

    A page of source code links back to all descriptions by one name of its module: the package or the module itself,
    whichever it met first.
    """
    for signature in doctree.findall(addnodes.desc_signature):
        module, name = signature.get("module") or "", signature["fullname"]
        package, dot, _ = module.partition(".")
        if package == _PACKAGE:
            other = package if dot else _home(name.split(".")[0])
            signature["ids"].extend({f"{other}.{name}"} - set(signature["ids"]))


def _home(name: str) -> str:
    """The module that holds what the package offers under a name."""
    return getattr(getattr(import_module(_PACKAGE), name), "__module__", _PACKAGE)


def setup(app: Sphinx) -> dict:
    app.connect("autodoc-skip-member", _skip_fields)
    app.connect("doctree-read", _add_anchors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
