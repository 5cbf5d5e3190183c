"""A document of headings, paragraphs, tables and figures, written as Markdown and as one HTML page."""

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote


@dataclass(frozen=True)
class Heading:
    """A heading; level 2 begins a section."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Plain text; a "result" and a "warning" are set apart."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Bullets:
    """A list of plain texts."""

    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Lines for a terminal."""

    text: str


@dataclass(frozen=True)
class Table:
    """Cells under columns.

    Attributes
    ----------
    caption : str
        What it shows, in one or more sentences.
    columns : sequence of str
        Their names.
    groups : sequence of (str, rows)
        Title of a group of rows, which may be empty, and its rows: as many texts as there are columns.
    notes : sequence of str
        Below the table.

    Raises
    ------
    ValueError
        If a row has another number of cells than there are columns.
    """

    caption: str
    columns: Sequence[str]
    groups: Sequence[tuple[str, Sequence[Sequence[str]]]]
    notes: Sequence[str] = ()

    def __post_init__(self):
        for _, rows in self.groups:
            for row in rows:
                if len(row) != len(self.columns):
                    raise ValueError(f"A row must have {len(self.columns)} cells, got {row!r}.")


@dataclass(frozen=True)
class Image:
    """A figure.

    Attributes
    ----------
    name : str
        Of its file, with suffix.
    svg : str
        The figure.
    alt : str
        What it shows, for those who do not see it.
    caption : str
        Text below.
    """

    name: str
    svg: str = field(repr=False)
    alt: str
    caption: str


Part = Heading | Paragraph | Bullets | Code | Table | Image


@dataclass(frozen=True)
class Document:
    """A title, and what follows."""

    title: str
    parts: Sequence[Part]


def to_markdown(document: Document, figures: str) -> str:
    """Write a document as Markdown.

    Parameters
    ----------
    document : Document
        The document.
    figures : str
        Folder of the figures' files, relative to that of the document.

    Returns
    -------
    text : str
    """
    blocks = [f"# {_plain(document.title)}", *(_markdown(part, figures) for part in document.parts)]
    return "\n\n".join(blocks) + "\n"


def to_html(document: Document) -> str:
    """Write a document as one HTML page that needs nothing else.

    Parameters
    ----------
    document : Document
        The document.

    Returns
    -------
    text : str
    """
    sections = [i for i, part in enumerate(document.parts) if isinstance(part, Heading) and part.level == 2]
    links = "".join(f'<li><a href="#part-{i}">{_escaped(document.parts[i].text)}</a></li>\n' for i in sections)
    body = "\n".join(_html(part, i) for i, part in enumerate(document.parts))
    title = _escaped(document.title)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        f'<nav aria-label="Sections">\n<ol>\n{links}</ol>\n</nav>\n{body}\n</main>\n</body>\n</html>\n'
    )


def _markdown(part: Part, figures: str) -> str:
    """One part of a document."""
    match part:
        case Heading(text, level):
            return f"{'#' * level} {_plain(text)}"
        case Paragraph(text, kind):
            return f"> **{_plain(text)}**" if kind else _plain(text)
        case Bullets(items):
            return "\n".join(f"- {_plain(item)}" for item in items)
        case Code(text):
            return f"````sh\n{text}\n````"
        case Image(name, _, alt, caption):
            return f"![{_plain(alt)}]({quote(f'{figures}/{name}')})\n\n{_plain(caption)}"
        case Table():
            return _markdown_table(part)


def _markdown_table(table: Table) -> str:
    """A table with pipes; titles of groups are rows of their own."""
    lines = [_piped(map(_inline, table.columns)), _piped(["---"] * len(table.columns))]
    for title, rows in table.groups:
        if title:
            lines.append(_piped([f"**{_inline(title)}**", *[" "] * (len(table.columns) - 1)]))
        lines += [_piped(map(_inline, row)) for row in rows]
    return "\n\n".join([_plain(table.caption), "\n".join(lines), *map(_plain, table.notes)])


def _piped(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Text on one line that Markdown shows as it is, also at the beginning of a line."""
    return _BEGINNING.sub(r"\1\\\2", _inline(text))


def _inline(text: str) -> str:
    """Text on one line that Markdown shows as it is, in a line or a cell."""
    text = _MEANINGFUL.sub(r"\\\g<0>", re.sub("[ \t\r\n]+", " ", text).strip(" "))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _html(part: Part, number: int) -> str:
    """One part of a document."""
    match part:
        case Heading(text, level):
            return f'<h{level} id="part-{number}">{_escaped(text)}</h{level}>'
        case Paragraph(text, kind):
            attribute = f' class="{kind}"' if kind else ""
            return f"<p{attribute}>{_escaped(text)}</p>"
        case Bullets(items):
            return "<ul>\n" + "".join(f"<li>{_escaped(item)}</li>\n" for item in items) + "</ul>"
        case Code(text):
            return f'<pre tabindex="0"><code>{_escaped(text)}</code></pre>'
        case Image(_, svg, alt, caption):
            data = base64.b64encode(svg.encode()).decode()
            image = f'<img src="data:image/svg+xml;base64,{data}" alt="{_escaped(alt)}">'
            return f"<figure>\n{image}\n<figcaption>{_escaped(caption)}</figcaption>\n</figure>"
        case Table():
            return _html_table(part, number)


def _html_table(table: Table, number: int) -> str:
    """A table in a box of its own, which scrolls where the screen is narrow."""
    head = "".join(f'<th scope="col">{_escaped(name)}</th>' for name in table.columns)
    bodies = []
    for title, rows in table.groups:
        span = f'scope="rowgroup" colspan="{len(table.columns)}"'
        lines = [f"<tr><th {span}>{_escaped(title)}</th></tr>"] if title else []
        lines += [_html_row(row) for row in rows]
        bodies.append("<tbody>\n" + "\n".join(lines) + "\n</tbody>")
    notes = "".join(f'\n<p class="note">{_escaped(note)}</p>' for note in table.notes)
    return (
        f'<figure class="table">\n<figcaption id="caption-{number}">{_escaped(table.caption)}</figcaption>\n'
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="caption-{number}">\n<table>\n'
        f"<thead>\n<tr>{head}</tr>\n</thead>\n" + "\n".join(bodies) + f"\n</table>\n</div>{notes}\n</figure>"
    )


def _html_row(row: Sequence[str]) -> str:
    """One row; its first cell names it."""
    kinds = ['td class="text"' if len(cell) > _LONG else "td" for cell in row[1:]]
    cells = "".join(f"<{kind}>{_escaped(cell)}</td>" for kind, cell in zip(kinds, row[1:], strict=True))
    return f'<tr><th scope="row">{_escaped(row[0])}</th>{cells}</tr>'


def _escaped(text: str) -> str:
    """Text without meaning to HTML."""
    return html.escape(text, quote=True)


_LONG = 30  # characters: longer cells break into lines
# To Markdown: anywhere, except for underscores inside words; and at the beginning of a line.
_MEANINGFUL = re.compile(r"[\\`*|$~]|(?<!\w)_|_(?!\w)|\](?=[(\[:])")
_BEGINNING = re.compile(r"^(\d*)([#+.)-])(?=\s)")
_STYLE = """\
:root { color-scheme: light dark; --page: #fff; --ink: #1c1c1e; --soft: #5b5b62; --line: #d6d6dc; --band: #f2f2f5;
  --link: #0b57a4; --alarm: #9a3b00; --alarm-page: #fff4e8; }
@media (prefers-color-scheme: dark) {
  :root { --page: #121212; --ink: #e8e8ea; --soft: #a5a5ad; --line: #3a3a40; --band: #1f1f23;
    --link: #8ab8f0; --alarm: #ffb680; --alarm-page: #2e1f12; }
  img { filter: invert(0.93) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
  overflow-wrap: anywhere; }
main { max-width: 64rem; margin: 0 auto; padding: 1rem; }
main > p, main > ul, nav { max-width: 46rem; }
h1 { font-size: 1.7rem; line-height: 1.2; }
h2 { font-size: 1.35rem; line-height: 1.3; margin: 2.5rem 0 0.5rem; padding-top: 0.75rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 2rem 0 0.5rem; }
a { color: var(--link); }
.result, .warning { padding: 0.6rem 0.9rem; border-left: 4px solid var(--link); background: var(--band);
  font-weight: 600; }
.warning { border-color: var(--alarm); background: var(--alarm-page); }
figure { margin: 1.25rem 0; }
figcaption, .note { color: var(--soft); font-size: 0.9rem; max-width: 46rem; }
.table figcaption { color: var(--ink); margin-bottom: 0.4rem; }
.note { margin: 0.35rem 0 0; }
.scroll, pre { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: 0.875rem; line-height: 1.35;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 0.35rem 0.65rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
td { white-space: nowrap; }
td.text { white-space: normal; min-width: 14rem; }
thead th { background: var(--band); vertical-align: bottom; }
tbody th { font-weight: 400; min-width: 8rem; max-width: 16rem; background: var(--page); }
tbody th[scope="row"] { position: sticky; left: 0; }
tbody th[scope="rowgroup"] { font-weight: 600; padding-top: 0.7rem; max-width: none; }
tbody:last-child tr:last-child > * { border-bottom: 0; }
pre { padding: 0.75rem; background: var(--band); overflow-wrap: normal; }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
"""
