"""Equations as MathML, which browsers draw themselves: docutils translates, and no script is needed."""

from html import escape

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

_logger = logging.getLogger(__name__)


def _inline(translator, node) -> None:
    translator.body.append(_drawn(node, as_block=False))
    raise nodes.SkipNode


def _block(translator, node) -> None:
    translator.body.append(f'<div class="equation">{_drawn(node, as_block=True)}</div>')
    raise nodes.SkipNode


def _drawn(node, *, as_block: bool) -> str:
    """MathML; the LaTeX itself, and a warning, where docutils does not know it."""
    try:
        return tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        _logger.warning("this equation cannot be drawn: %s", error, location=node)
        return f"<code>{escape(node.astext())}</code>"


def setup(app: Sphinx) -> dict:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
