"""A document says the same in both forms, and text in it stays text."""

import pytest

from mne_specmoe.benchmark.document import Bullets, Code, Document, Image, Paragraph, Table, to_html, to_markdown


def test_a_row_that_does_not_fit_its_table_is_refused():
    with pytest.raises(ValueError, match="2 cells"):
        Table("", ("a", "b"), [("", [["1"]])])


def test_lines_that_look_like_markup_stay_text():
    document = Document("# 1", [Paragraph("1. first"), Paragraph("- a"), Paragraph("a_b _c_ [d](e)")])
    lines = to_markdown(document, "").splitlines()
    assert lines[2:7:2] == [r"1\. first", r"\- a", r"a_b \_c\_ [d\](e)"]


def test_cells_cannot_break_their_table():
    table = Table("Caption.", ("a", "b"), [("group", [["x | y", "two\nlines"]])], ["Note."])
    assert to_markdown(Document("t", [table]), "").splitlines()[2:] == [
        "Caption.", "", "| a | b |", "| --- | --- |", "| **group** |   |", r"| x \| y | two lines |", "", "Note.",
    ]  # fmt: skip
    page = to_html(Document("t", [table]))
    assert '<th scope="rowgroup" colspan="2">group</th>' in page
    assert '<th scope="row">x | y</th>' in page


def test_all_text_is_escaped_in_the_page():
    parts = [Paragraph("<i>"), Bullets(["<i>"]), Code("<i>"), Image("f.svg", "<svg/>", '"<i>', "<i>")]
    page = to_html(Document("<i>", [*parts, Table("<i>", ["<i>"], [("<i>", [["<i>"]])], ["<i>"])]))
    assert "<i>" not in page
    assert page.count("&lt;i&gt;") == 12
    assert 'alt="&quot;&lt;i&gt;"' in page


def test_a_figure_is_linked_in_its_folder():
    image = Image("a.svg", "<svg/>", "What it shows", "Caption")
    assert "![What it shows](my%20figures/a.svg)" in to_markdown(Document("t", [image]), "my figures")
