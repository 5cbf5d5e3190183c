"""Second anchors for objects documented under the module that holds them.

A page of source code links back to descriptions by one module name for all, which is the package where the module also
holds an object that the package offers.
"""

from sphinx import addnodes
from sphinx.application import Sphinx


def _add_anchors(app: Sphinx, doctree) -> None:
    for signature in doctree.findall(addnodes.desc_signature):
        package, dot, _ = (signature.get("module") or "").partition(".")
        if dot and package == "mne_specmoe":
            signature["ids"].append(f"{package}.{signature['fullname']}")


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", _add_anchors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
