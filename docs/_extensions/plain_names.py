"""Links to our objects by their short names, or by the module that holds them; single backticks for all of them.

Text in single backticks is a link where it names something documented here, else code.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole

_MARK = "plain_name"


class _PlainName(PyXRefRole):
    """Like ``:py:obj:``, but what names nothing of ours is no fault."""

    def __call__(self, name, *args, **kwargs):
        return super().__call__("py:obj", *args, **kwargs)

    def result_nodes(self, document, env, node, is_ref):
        node[_MARK] = True
        return [node], []


def _resolve(app: Sphinx, env, node, contnode):
    """Find an object whatever module the text stands in; leave code where single backticks name nothing of ours."""
    found = None
    if node.get("refdomain") == "py" and (name := _full_name(node["reftarget"], app.config.plain_names_targets)):
        domain = env.domains.python_domain
        found = domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], name, node, contnode)
    if found is None and node.get(_MARK):
        return nodes.literal("", node.astext())
    return found


def _full_name(target: str, names: dict[str, str]) -> str | None:
    """``Corpus.read`` and ``mne_specmoe.data.corpus.Corpus.read`` → ``mne_specmoe.Corpus.read``."""
    parts = target.split(".")
    for place, part in enumerate(parts):
        if part in names and (place == 0 or parts[0] == "mne_specmoe"):
            return ".".join([names[part], *parts[place + 1 :]])
    return None


def setup(app: Sphinx) -> dict:
    app.add_config_value("plain_names_targets", {}, "env", types=dict)
    app.add_role("plain", _PlainName())
    app.connect("missing-reference", _resolve, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
