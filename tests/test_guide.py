"""The user guide keeps its word: its code runs, and the messages that it explains are still ours."""

import ast
import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import mne
import pytest

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guide"
PAGES = sorted(GUIDE.glob("*.md"))
LEAST_FIXED = 20  # characters of a message that no value fills in: fewer would match anything

FENCE = re.compile(
    r"^(?:% (?P<mark>[\w-]+)[^\n]*\n)?(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
QUOTED = re.compile(r"^> `[A-Za-z]+(?:Error|Warning): (?P<text>.+)`$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of a page: its language, the word after "%" on the line before, and its line number."""

    language: str
    mark: str | None
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found["language"], found["mark"], found["text"], text.count("\n", 0, found.start("text")) + 1)
        for found in FENCE.finditer(text)
    ]


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A folder to write into; the settings of libraries are put back afterwards."""
    monkeypatch.chdir(tmp_path)
    level = mne.set_log_level(return_old_level=True)
    plt.switch_backend("Agg")
    with warnings.catch_warnings():
        yield tmp_path
    mne.set_log_level(level)
    plt.close("all")


PYTHON_PAGES = [page for page in PAGES if any(b.language == "python" and b.mark != "no-run" for b in blocks_of(page))]


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda page: page.stem)
@pytest.mark.usefixtures("own_folder")
def test_the_code_of_a_page_runs_from_top_to_bottom_and_prints_what_the_page_says(page):
    names, printed = {"__name__": "__main__"}, None
    for block in blocks_of(page):
        if block.language == "python" and block.mark != "no-run":
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as stream:
                exec(code, names)
            printed = stream.getvalue()
        elif block.mark == "output":
            assert printed.strip() == block.text.strip(), f"{page.name}, line {block.line}"


def templates_of(tree: ast.AST) -> Iterator[str]:
    """Regular expressions of all texts in a module; what is filled in may be anything."""
    for node in ast.walk(tree):
        pattern = pattern_of(node)
        if pattern is not None and len(re.sub(r"\.\*|\\", "", pattern)) >= LEAST_FIXED:
            yield pattern


def pattern_of(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(pattern_of(part) or ".*" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return "".join(pattern_of(part) or ".*" for part in (node.left, node.right))
    return None


@pytest.fixture(scope="module")
def templates() -> list[re.Pattern]:
    sources = (ROOT / "mne_specmoe").rglob("*.py")
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in sources)
    return [re.compile(pattern, re.DOTALL) for tree in trees for pattern in templates_of(tree)]


MESSAGES = [message for page in PAGES for message in QUOTED.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message[:40])
def test_a_quoted_message_is_one_that_the_package_has(message, templates):
    assert any(template.fullmatch(message) for template in templates)


def test_a_changed_message_would_be_noticed(templates):
    message = next(message for message in MESSAGES if "channels that are needed" in message)
    changed = message.replace("channels that are needed", "channels that were wanted")
    assert not any(template.fullmatch(changed) for template in templates)


def test_troubleshooting_explains_many_messages():
    assert len(set(MESSAGES)) == len(MESSAGES) >= 25


@pytest.mark.parametrize("page", PAGES + sorted((ROOT / "docs" / "explanation").glob("*.md")), ids=lambda p: p.stem)
def test_links_to_files_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing
