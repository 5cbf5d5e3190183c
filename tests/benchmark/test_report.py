"""The report says what the results file says, in Markdown and HTML alike, and hides nothing that is missing."""

import base64
import html
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from made_up_results import done, estimator, failed, make_plan, split_hashes, write

from mne_specmoe.benchmark.document import (
    Bullets,
    Code,
    Heading,
    Image,
    Paragraph,
    Table,
    to_html,
    to_markdown,
)
from mne_specmoe.benchmark.report import make_report, verdict_sentence, write_report
from mne_specmoe.benchmark.report_rows import read_results
from mne_specmoe.benchmark.report_tables import task_numbers
from mne_specmoe.benchmark.results import ResultsFile

VOID = {"meta", "img", "br", "hr", "link"}
MARKS = "⚠"


@pytest.fixture(scope="module")
def plan():
    return make_plan()


@pytest.fixture(scope="module")
def results(plan, tmp_path_factory):
    return read_results(write(tmp_path_factory.mktemp("whole") / "results.jsonl", plan))


@pytest.fixture(scope="module")
def report(results):
    return make_report(results)


@pytest.fixture
def make(plan, tmp_path):
    """Report on a file in which some records are others."""
    return lambda change, plan=plan: make_report(read_results(write(tmp_path / "results.jsonl", plan, change=change)))


class Page(HTMLParser):
    """What a page holds; raises where elements are not nested."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and self.open[-1] != "style":
            self.words.append(data.strip("\n"))


def section(document, title):
    """The parts below the heading that begins so, up to the next of the level or above."""
    start = next(i for i, p in enumerate(document.parts) if isinstance(p, Heading) and p.text.startswith(title))
    rest = document.parts[start + 1 :]
    level = document.parts[start].level
    end = next((i for i, p in enumerate(rest) if isinstance(p, Heading) and p.level <= level), len(rest))
    return rest[:end]


def tables(parts, beginning=""):
    return [part for part in parts if isinstance(part, Table) and part.caption.startswith(beginning)]


def rows_of(table):
    return [row for _, rows in table.groups for row in rows]


def row_of(table, title):
    return next(row for row in rows_of(table) if row[0].split("\xa0")[0] == title)


def texts(document):
    """All texts of a document."""
    for part in document.parts:
        match part:
            case Heading(text) | Paragraph(text) | Code(text):
                yield text
            case Bullets(items):
                yield from items
            case Image(_, _, alt, caption):
                yield from (alt, caption)
            case Table(caption, columns, groups, notes):
                yield from (caption, *columns, *notes)
                for title, rows in groups:
                    yield from (title, *(cell for row in rows for cell in row))


def warnings_of(document):
    return [part.text for part in document.parts if isinstance(part, Paragraph) and part.kind == "warning"]


def test_sections_come_in_order(report):
    sections = [part.text for part in report.parts if isinstance(part, Heading) and part.level == 2]
    assert sections == [
        "What was run",
        "Summary",
        "Task: Rest or task",
        "Task: Diagnosis",
        "Task: Sleep",
        "The four gates of “pretraining helps”",
        "Controls",
        "Figures",
        "Failed and missing cells",
        "What the weights were pretrained on",
        "How to read this",
        "How to reproduce this",
    ]


def test_tables_hold_the_numbers_of_the_file(results, report):
    numbers = task_numbers(results, "rest")
    row = row_of(tables(section(report, "Task: Rest"), "Scores on")[0], "good probe")
    scores = [r["pooled"]["balanced_accuracy"] for r in results.records.values()
              if (r["task"], r["estimator"]) == ("rest", "good")]  # fmt: skip
    difference = numbers.everyone.differences["good"]
    mean, low, high = difference.interval
    assert row == [
        "good probe",
        f"{np.mean(scores):.3f} ± {np.std(scores, ddof=1):.3f}",
        f"{2 * np.mean(scores) - 1:.3f}",
        f"{np.mean(list(numbers.rows['good'].means.values())):.3f}",
        f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]",
        f"{difference.p_corrected:.3g}",
    ]


def test_cost_and_hours_come_from_the_file(results, report):
    hours = sum(record["seconds"] for record in results.records.values()) / 3600
    assert any(f"would take {hours:.3g} hours" in text for text in texts(report))
    seconds = results.records["rest", "bands", 0, 0]["seconds"]
    table = tables(section(report, "Task: Rest"), "Cost on")[0]
    assert row_of(table, "Band power") == ["Band power", "1,234", f"{seconds:.3g}", "500"]


def test_a_task_states_its_source_confounds_and_leaks(report):
    lines = section(report, "Task: Sleep")[0].items
    assert "Confound: Sessions differ." in lines
    assert "Known leak: Neighbours in time." in lines
    assert any("Nobody, N. (2020)" in line and "CC0" in line for line in lines)
    assert "Known leaks: none." in section(report, "Task: Rest")[0].items


def test_a_task_with_a_test_part_that_lacks_a_class_says_that_folds_are_pooled(report):
    caption = tables(section(report, "Task: Sleep"), "Scores on")[0].caption
    assert "In 1 of 2 test parts a class does not occur" in caption
    assert "a class does not occur" not in tables(section(report, "Task: Rest"), "Scores on")[0].caption


def test_a_task_with_one_subject_has_no_comparisons(report):
    for row in rows_of(tables(section(report, "Task: Sleep"), "Scores on")[0]):
        assert row[4] in ("not evaluated: one subject", "strongest classical")


def test_the_summary_counts_the_tasks_on_which_pretraining_helps(results, report):
    (sentence,) = [p.text for p in section(report, "Summary") if isinstance(p, Paragraph) and p.kind == "result"]
    assert sentence.startswith("On 1 of the 3 tasks pretraining helps by all four gates: Rest or task (")
    assert "good probe" in sentence
    assert "familiar probe on unseen subjects only" in sentence
    assert "useless" not in sentence
    assert "On Sleep the question stays open" in sentence


def test_the_summary_says_that_useless_pretraining_helps_nowhere(make, plan):
    results = make(lambda cell, r: done(plan, cell, skill=0.6) if cell.estimator in ("good", "familiar") else r)
    (sentence,) = [p.text for p in section(results, "Summary") if isinstance(p, Paragraph)]
    assert sentence.startswith("On none of the 3 tasks does pretraining help by all four gates.")


def test_the_verdict_on_one_task_is_a_sentence_too(results):
    good, bad = (verdict_sentence(results, [task_numbers(results, name)]) for name in ("rest", "diagnosis"))
    assert good.startswith("On the one task, Rest or task, pretraining helps by all four gates: ")
    assert bad.startswith("On the one task, Diagnosis, pretraining does not help by all four gates.")
    assert "was not asked" in verdict_sentence(results, [])


def test_gates_are_listed_for_each_pretrained_estimator_with_their_numbers(results, report):
    parts = section(report, "The four gates")
    (everyone,) = tables(parts, "Rest or task, all subjects (n = 12)")
    assert [title for title, _ in everyone.groups] == [
        "good probe: all four passed",
        "familiar probe\xa0⚠: not all four passed",
        "useless probe: not all four passed",
    ]
    gates = task_numbers(results, "rest").everyone.gates["useless"]
    verdicts = everyone.groups[2][1]
    assert [row[1] for row in verdicts] == ["✗ failed", "✗ failed", "✓ passed", "✗ failed"]
    assert verdicts[3][2] == gates.controlled.reason
    (unseen,) = tables(parts, "Rest or task, subjects that no weights saw (n = 8)")
    assert unseen.groups[1][0] == "familiar probe\xa0(⚠): all four passed"


def test_overlap_is_marked_wherever_the_estimator_is_named_for_the_task(report):
    parts = [*section(report, "Task: Rest"), *section(report, "The four gates")[:3], *section(report, "Controls")[:1]]
    shown = [text for table in tables(parts) for row in rows_of(table) for text in row if text.startswith("familiar")]
    marked = {text for text in shown if MARKS in text}
    assert marked == {"familiar probe\xa0⚠", "familiar, permuted\xa0⚠", "familiar probe\xa0(⚠)",
                      "familiar, permuted\xa0(⚠)"}  # fmt: skip
    assert {*shown} - marked == {"familiar, random"}
    assert "familiar probe\xa0⚠ 2" in section(report, "Ranks over tasks")[0].alt
    assert row_of(tables(section(report, "What the weights"))[0], "familiar probe")[0].endswith(MARKS)
    assert any("4 of 12 test subjects were seen" in text for text in texts(report))
    assert not any(MARKS in text for table in tables(section(report, "Task: Diagnosis")) for text in table.notes)


def test_unknown_pretraining_data_is_marked(make, plan):
    plan = {**plan, "estimators": {**plan["estimators"]}}
    plan["estimators"]["good"] = {**plan["estimators"]["good"], "seen": {"rest": ["unknown"]}}
    report = make(lambda cell, record: done(plan, cell), plan)
    table = tables(section(report, "Task: Rest"), "Scores on")[0]
    assert row_of(table, "good probe")[0] == "good probe\xa0⚠?"
    assert any(note.startswith("⚠? good probe: it is not known") for note in table.notes)
    assert "good probe\xa0⚠?" in rows_of(tables(section(report, "Summary"))[0])[0][2]


def test_the_table_of_unseen_subjects_is_on_them_alone(results, report):
    (table,) = tables(section(report, "Task: Rest"), "Scores on Rest or task, only of the 8 subjects (of 12)")
    means = task_numbers(results, "rest").rows["eegnet"].means
    unseen = [score for who, score in means.items() if who not in ("s00", "s01", "s02", "s03")]
    assert row_of(table, "EEGNet")[1] == f"{np.mean(unseen):.3f}"
    assert len(tables(section(report, "Task: Diagnosis"))) == 3


def test_failed_and_missing_cells_are_told_and_not_hidden(make, plan):
    def change(cell, record):
        if (cell.task, cell.estimator, cell.fold, cell.seed) == ("rest", "good", 0, 0):
            return failed(plan, cell)
        return None if (cell.task, cell.estimator, cell.fold) == ("diagnosis", "bands", 1) else record

    report = make(change)
    assert warnings_of(report)[0].startswith("This run is not finished: 1 of 150 cells were not run.")
    assert warnings_of(report)[1].startswith("1 cell failed.")
    sentence = next(p.text for p in section(report, "Summary") if isinstance(p, Paragraph))
    assert sentence.startswith("So far, with 148 of 150 cells done: ")
    score, *_, difference, p = row_of(tables(section(report, "Task: Rest"), "Scores on")[0], "good probe")[1:]
    assert score.endswith("(3 of 4 cells)")
    assert (difference, p) == ("not evaluated: of 4 cells 1 failed", "–")
    good_on_diagnosis = row_of(tables(section(report, "Task: Diagnosis"), "Scores on")[0], "good probe")
    assert good_on_diagnosis[4] == "not evaluated: there are no scores of Band power"
    failures, missing = tables(section(report, "Failed and missing"))
    assert rows_of(failures) == [
        ["good probe", "Rest or task", "0", "0", "RuntimeError: <script>alert(1)</script> | no"]
    ]
    assert rows_of(missing) == [["Band power", "Diagnosis", "1 of 2"]]
    summary = rows_of(tables(section(report, "Summary"))[0])
    assert summary[0][2].startswith("familiar probe")
    assert summary[1][1] == "not known: one lacks scores"


def test_a_finished_file_warns_of_nothing(report):
    assert not warnings_of(report)
    assert [part.text for part in section(report, "Failed and missing")] == ["No cell failed.", "No cell is missing."]


def test_permuted_labels_are_told_to_be_at_chance_or_not(report, make, plan):
    (text,) = [p.text for p in section(report, "Controls") if "permuted labels should" in getattr(p, "text", "")]
    assert "(at chance: 6, not evaluated: 3)" in text
    leaking = make(lambda cell, r: done(plan, cell, skill=0.7) if cell.estimator == "good_permuted" else r)
    assert any("Above chance in spite of permuted labels: good, permuted on Rest or task" in text
               for text in warnings_of(leaking))  # fmt: skip


def test_identity_is_reported_as_a_warning_not_as_a_task(results, report):
    (table,) = tables(section(report, "Whose windows are these?"))
    row = task_numbers(results, "whose").rows["good"]
    assert row_of(table, "good probe")[1] == str(row.main("balanced_accuracy"))
    assert any("no subject is in both training and test" in text for text in texts(report))
    assert not any(text == "Task: Whose windows" for text in texts(report))


def test_every_figure_is_a_drawing_that_is_the_same_each_time(results, report):
    images = [part for part in report.parts if isinstance(part, Image)]
    assert [image.name for image in images] == [
        "ranks.svg", "1-rest-subjects.svg", "1-rest-compute.svg", "2-diagnosis-subjects.svg", "2-diagnosis-compute.svg",
        "3-sleep-compute.svg",
    ]  # fmt: skip
    assert all(ElementTree.fromstring(image.svg).tag.endswith("svg") for image in images)
    again = [part.svg for part in make_report(results).parts if isinstance(part, Image)]
    assert [image.svg for image in images] == again


def test_the_page_is_well_formed_and_needs_nothing_else(report):
    page = Page(to_html(report))
    assert page.tags.count("style") == 1
    assert not {"script", "link", "iframe", "object", "base"} & {*page.tags}
    for tag, attributes in page.attributes:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/svg+xml;base64,")), tag
    style = re.search("<style>(.*)</style>", to_html(report), re.S)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style
    images = [attributes for tag, attributes in page.attributes if tag == "img"]
    for attributes, image in zip(images, (p for p in report.parts if isinstance(p, Image)), strict=True):
        assert base64.b64decode(attributes["src"].partition(",")[2]).decode() == image.svg
        assert attributes["alt"] == image.alt
    targets = {attributes["href"][1:] for tag, attributes in page.attributes if tag == "a"}
    assert targets <= {attributes.get("id") for _, attributes in page.attributes}


def test_markdown_and_page_say_the_same(report):
    page = Page(to_html(report))
    on_page = {*page.words, *(attributes.get("alt") for _, attributes in page.attributes)}
    markdown = re.sub(r"\\([\\`*|$~_\]#+.)-])", r"\1", html.unescape(to_markdown(report, "figures")))
    for text in filter(None, texts(report)):
        assert text in on_page
        assert text in markdown


def test_text_of_others_cannot_become_markup(make, plan):
    plan = {**plan, "tasks": {**plan["tasks"]}}
    plan["tasks"]["rest"] = {**plan["tasks"]["rest"], "title": "<b>Rest</b> | *task* $x$"}
    report = make(lambda cell, r: failed(plan, cell) if cell.key == ("rest", "good", 0, 0) else done(plan, cell), plan)
    page = Page(to_html(report))
    assert not {"script", "b"} & {*page.tags}
    assert "RuntimeError: <script>alert(1)</script> | no" in page.words
    markdown = to_markdown(report, "figures")
    assert "<script" not in markdown
    assert "<b>" not in markdown
    assert r"&lt;b&gt;Rest&lt;/b&gt; \| \*task\* \$x\$" in markdown


def test_markdown_tables_have_as_many_cells_in_each_row(report):
    blocks = re.split(r"\n\n+", to_markdown(report, "figures"))
    found = [block.splitlines() for block in blocks if block.startswith("|")]
    assert len(found) == len(tables(report.parts))
    for lines in found:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert re.fullmatch(r"\|( --- \|)+", lines[1])


def test_the_report_is_written_where_it_is_asked_for(results, tmp_path):
    paths = write_report(results.path, tmp_path / "docs" / "my report.html")
    names = {str(path.relative_to(tmp_path / "docs")) for path in paths}
    assert {"my report.md", "my report.html"} < names
    assert len(names) == 8
    assert all(path.is_file() for path in paths)
    markdown = (tmp_path / "docs" / "my report.md").read_text(encoding="utf-8")
    assert "](my%20report_figures/ranks.svg)" in markdown
    assert write_report(results.path, tmp_path)[0] == tmp_path / "report.md"
    assert write_report(results.path, tmp_path / "v0.1")[0] == tmp_path / "v0.1.md"


def test_a_file_with_a_header_alone_has_a_report(plan, tmp_path):
    file = ResultsFile(tmp_path / "results.jsonl")
    file.open(plan, split_hashes(plan))
    report = make_report(read_results(file.path))
    assert warnings_of(report)[0].startswith("This run is not finished: 150 of 150 cells were not run.")
    assert "No cell is done yet, so nothing can be said." in texts(report)
    assert not any(isinstance(part, Image) for part in report.parts)
    Page(to_html(report))


def test_a_plan_of_nothing_has_a_report(plan, tmp_path):
    file = ResultsFile(tmp_path / "results.jsonl")
    file.open({**plan, "tasks": {}, "estimators": {}}, {})
    report = make_report(read_results(file.path))
    assert warnings_of(report) == ["Nothing was planned: the results file names no cells."]
    Page(to_html(report))


def test_a_regression_has_a_report(make, plan):
    rest = {**plan["tasks"]["rest"], "metric": "r2", "classes": [], "chance": 0.0}
    other = {**plan, "tasks": {"rest": rest}}

    def regression(cell, record):
        record = done(plan, cell)
        scores = {who: 2 * score - 1 for who, score in record["scores"]["balanced_accuracy"].items()}
        pooled = {"r2": float(np.mean(list(scores.values()))), "rmse": 3.0}
        return {**record, "scores": {"r2": scores}, "pooled": pooled, "confusion": {}}

    report = make(regression, other)
    table = tables(section(report, "Task: Rest"), "Scores on")[0]
    assert table.columns[1].startswith("R²")
    assert "regression" in rows_of(tables(section(report, "What was run"))[0])[0]
    assert "pretraining helps by all four gates" in " ".join(texts(report))


def test_a_foreign_or_empty_file_is_refused_and_nothing_is_written(tmp_path):
    for content in ("", '{"format": "something else"}\n'):
        (tmp_path / "results.jsonl").write_text(content)
        with pytest.raises(ValueError, match="no header of mne-specmoe benchmark results"):
            write_report(tmp_path / "results.jsonl", tmp_path / "report")
    assert [path.name for path in tmp_path.iterdir()] == ["results.jsonl"]


def combined(plan):
    """The plan with classical features, alone and with others added."""
    more, no_identity = {**plan, "estimators": dict(plan["estimators"])}, {"whose": "it is no probe"}
    base = estimator("Classical features", "combined", unsuited=no_identity)
    added = estimator("Good, added", "combined", weights="good", unsuited=no_identity) | {"adds_to": "base"}
    drawn = estimator("Good, added, random", "control", of="added", control="random", stochastic=True,
                      unsuited=no_identity) | {"adds_to": "base"}  # fmt: skip
    more["estimators"] |= {"base": base, "added": added, "added_random": drawn}
    return more


def test_what_networks_add_to_classical_features_is_paired_and_beside_it_what_random_ones_add(make, plan):
    more, skill = combined(plan), {"base": 0.7, "added": 0.9, "added_random": 0.7}
    found = make(lambda cell, record: done(more, cell, skill=skill.get(cell.estimator)), more)
    (table,) = tables(section(found, "What networks add"), "Rest or task")
    row = row_of(table, "Good, added")
    assert 0.65 < float(row[1]) < 0.75
    assert 0.85 < float(row[2]) < 0.95
    lows = [float(re.search(r"\[([+-][0-9.]+)", cell).group(1)) for cell in row[3:] if "[" in cell]
    assert lows[0] > 0.1  # trained
    assert lows[1] < 0  # random
    assert lows[2] > 0.1  # one less the other
    (one,) = tables(section(found, "What networks add"), "Sleep")
    assert row_of(one, "Good, added")[3] == "not evaluated: one subject"


def test_a_file_without_new_protocols_has_no_section_for_them(report):
    words = " ".join(texts(report))
    assert "Leave a data set out" not in words
    assert "add to classical" not in words
    assert "\N{DAGGER}" not in words


def test_centred_methods_are_marked_and_explained(make, plan):
    more = {**plan, "estimators": dict(plan["estimators"])}
    more["estimators"]["bands_centred"] = estimator("Band power, centred", "classical", unsuited={"whose": "no"}) | {
        "is_centred": True
    }
    found = make(lambda cell, record: done(more, cell), more)
    (scores,) = tables(found.parts, "Scores on Rest or task.")
    row = next(row for row in rows_of(scores) if row[0].startswith("Band power, centred"))
    assert row[0] == "Band power, centred\xa0\N{DAGGER}"
    assert row[4] == "strongest classical that centres"
    assert any("Transductive" in note for note in scores.notes)
    (summary,) = tables(section(found, "Summary"))
    assert [title for title, _ in summary.groups][-1] == "All subjects, each centred without labels (transductive)"
