"""The directive ``command-line``: the help texts of all verbs, as ``--help`` prints them."""

import argparse
import os
from collections.abc import Iterator
from unittest.mock import patch

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_COLUMNS = "88"  # what a page is wide


class CommandLine(SphinxDirective):
    """One section per verb; ``pretrain`` has one per model, whose flags differ."""

    def run(self) -> list[nodes.Node]:
        with patch.dict(os.environ, COLUMNS=_COLUMNS, NO_COLOR="1"):
            return [self._section(title, text) for title, text in help_texts()]

    def _section(self, title: str, text: str) -> nodes.section:
        section = nodes.section(ids=[nodes.make_id(title)], names=[nodes.fully_normalize_name(title)])
        section += nodes.title("", "", nodes.literal("", title))
        section += nodes.literal_block(text, text, language="none")
        self.state.document.note_explicit_target(section)
        return section


def help_texts() -> Iterator[tuple[str, str]]:
    """Command → its help."""
    from mne_specmoe import cli

    for command, text in _verbs(cli._parser(None)):
        if command != "mne-specmoe pretrain":
            yield command, text
            continue
        for model in cli._MODELS:
            yield f"{command} --model {model}", dict(_verbs(cli._parser(model)))[command]


def _verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """This parser's help, then those of its verbs."""
    yield parser.prog, parser.format_help().rstrip()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from _verbs(verb)


def setup(app: Sphinx) -> dict:
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
