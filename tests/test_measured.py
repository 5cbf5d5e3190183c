"""Scores in README and documentation are those of the results file; nobody typed them."""

import importlib.util
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from made_up_results import failed, make_plan, write

from mne_specmoe.benchmark.sizes import FULL

ROOT = Path(__file__).parents[1]
PLACE = re.compile(r"<!-- measured: .*?<!-- /measured -->", re.DOTALL)
MADE_UP = {"Good": "good", "Familiar": "familiar"}


def load():
    """docs/quote_results.py, which is in no package."""
    sys.path.insert(0, str(ROOT / "docs"))  # as for a script there
    spec = importlib.util.spec_from_file_location("quote_results", ROOT / "docs" / "quote_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


quote = load()
quote_speed = sys.modules["quote_speed"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return quote.Measured(write(tmp_path_factory.mktemp("results") / "r.jsonl", make_plan()), MADE_UP)


def test_pages_say_what_the_results_file_says():
    texts = quote.all_texts()
    for page in quote.PAGES:
        text = page.read_text(encoding="utf-8")
        assert quote.filled(text, texts) == text, f"{page.name}: run python docs/quote_results.py"
        assert PLACE.search(text), f"{page.name} quotes nothing"


def test_the_readme_has_no_score_that_somebody_typed():
    text = PLACE.sub("", (ROOT / "README.md").read_text(encoding="utf-8"))
    prose = re.sub(r"```.*?```|`[^`]*`|arXiv:\S+", "", text, flags=re.DOTALL)
    assert re.findall(r"\b0\.\d{2,}", prose) == []


def test_page_on_speed_is_that_of_the_report_beside_it():
    report = json.loads(quote.SPEED.read_text(encoding="utf-8"))
    assert quote.SPEED.with_suffix(".md").read_text(encoding="utf-8") == quote.speed_page(report)
    assert report["sizes"] == json.loads(json.dumps(asdict(FULL)))
    assert report["left_out"] == []


def test_the_code_on_costs_has_the_flops_that_were_counted():
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert f"/ {quote.Speed(quote.SPEED).gflop()['channelwise']:.0f}e9 " in text


@pytest.mark.parametrize("card", ["README.md", "README-brainrvq.md"])
def test_what_a_model_card_says_of_held_out_people_was_printed_by_its_commands(card):
    text = (ROOT / "mne_specmoe" / "weights" / card).read_text(encoding="utf-8")
    worth = text[text.index("## What they are worth") :].replace("−", "-")
    said = re.findall(r"-?\b\d\.\d{3}\b", worth)
    printed = (ROOT / "docs" / "benchmark" / "weights.md").read_text(encoding="utf-8")
    assert len(said) > 20
    assert sorted(set(said) - set(re.findall(r"-?\b\d\.\d{3}\b", printed))) == []


def test_a_line_has_scores_of_unseen_people_and_the_difference_to_random_weights(measured):
    header, _, *lines = measured.scores().splitlines()
    assert header.count("|") == lines[0].count("|") == 9
    rest = next(line for line in lines if line.startswith("| Rest or task |"))
    _, title, people, chance, classical, good, good_less, familiar, familiar_less, _ = map(str.strip, rest.split("|"))
    numbers = next(each for each in measured.tasks if each.name == "rest")
    assert (people, chance) == ("8", "0.500")  # four of twelve were seen
    assert classical == f"Tangent space: {numbers.unseen.means['riemann']:.3f}"
    assert float(good) == pytest.approx(numbers.unseen.means["good"], abs=5e-4)
    assert float(familiar) != pytest.approx(numbers.everyone.means["familiar"], abs=5e-4)
    expected = numbers.unseen.means["good"] - numbers.unseen.means["good_random"]
    assert float(good_less.split(" ")[0]) == pytest.approx(expected, abs=1e-3)
    assert re.fullmatch(r"\+0\.\d{3} \[\+0\.\d{3},\s\+0\.\d{3}\]", good_less)
    assert familiar_less


def test_few_subjects_have_a_difference_without_an_interval(measured):
    sleep = next(line for line in measured.scores().splitlines() if line.startswith("| Sleep |"))
    assert "[" not in sleep


def test_a_task_that_lacks_cells_is_not_quoted_and_the_verdict_waits(tmp_path):
    plan = make_plan()
    path = write(
        tmp_path / "r.jsonl",
        plan,
        change=lambda cell, record: None if (cell.task, cell.estimator) == ("rest", "good_random") else record,
    )
    partial = quote.Measured(path, MADE_UP)
    assert "Rest or task" not in partial.scores()
    assert "Diagnosis" in partial.scores()
    assert "not finished" in partial.verdict()
    assert "4 of them not run yet" in partial.run()


def test_it_is_told_how_often_fine_tuning_was_preferred(tmp_path):
    plan = make_plan()
    plan["estimators"]["specmoe-finetuned"] = plan["estimators"].pop("good")
    for name in ("good_random", "good_permuted", "good_flat"):
        plan["estimators"][name]["control_of"] = "specmoe-finetuned"
    plan["budget"] |= {"n_looks": 20, "n_unfrozen": 1}

    def change(cell, record):
        epoch = 20 if (cell.task, cell.fold) == ("rest", 0) else 19
        return record | {"selection": {"settings": {"epoch": epoch}}}

    text = quote.Measured(write(tmp_path / "r.jsonl", plan, change=change), MADE_UP).fine_tuning()
    assert "2 of 14 cells of SpecMoE's starter" in text


def test_failed_cells_are_told(tmp_path, measured):
    plan = make_plan()
    path = write(
        tmp_path / "r.jsonl",
        plan,
        change=lambda cell, record: failed(plan, cell) if cell.estimator == "eegnet" else record,
    )
    assert "12 cells failed" in quote.Measured(path, MADE_UP).run()
    assert "No cell failed" in measured.run()
    assert "pretraining" in measured.verdict()


def test_places_are_filled_and_all_else_stays():
    text = "a\n<!-- measured: x -->\nold\n<!-- /measured -->\nb <!-- measured: x -->\n<!-- /measured -->"
    filled = quote.filled(text, {"x": lambda: "new\n"})
    assert filled == text.replace("old\n", "new\n").replace("b <!-- measured: x -->\n", "b <!-- measured: x -->\nnew\n")
    with pytest.raises(KeyError, match="x"):
        quote.filled(text, {})


@pytest.fixture(scope="module")
def speed(tmp_path_factory):
    """A report in which every setting takes twice as long as the one before, and a rate is one segment per second."""
    names = (quote_speed.REFERENCE, *quote_speed.SETTINGS)
    values = {name: 2.0**number for number, name in enumerate(names)}
    values |= {"pretraining FLOPs, channelwise": 100.0, "pretraining FLOPs, published": 101.0}
    values |= {"mask": 0.05, "mask, plain": 0.5, "mask, drawing alone": 0.005}
    values |= {"loader": 5000.0, "loader, from files": 1140.0}
    for number, variant in enumerate(quote_speed.PRETRAINING):
        values |= {f"pretraining, {variant}": 1.0 + number, f"pretraining memory, {variant} (4)": 2048.0}
        values |= {f"memory per further segment, {variant}": 512.0}
    report = {
        "machine": {"processor": "Abacus", "instructions": "BEADS", "torch": "2"},
        "sizes": {"settings": [16, 8, 800], "mask": [64], "n_pretraining": [2, 4]},
        "figures": [{"name": name, "value": value, "unit": ""} for name, value in values.items()],
    }
    path = tmp_path_factory.mktemp("speed") / "speed.json"
    path.write_text(json.dumps(report), encoding="utf-8")
    return quote_speed.Speed(path)


def test_settings_are_quoted_as_multiples(speed):
    _, first, *others = speed.settings()
    assert first == ("SpecMoE features, float32", "1")
    assert [cell for _, cell in others] == ["2", "4", "8", "16", "32", "64", "130", "260"]
    assert "16 epochs of 8 channels and 4 s" in speed.settings_size()


def test_hours_and_memory_follow_from_rates_and_further_segments(speed):
    first = speed.pretraining()[1]
    assert first == ("channelwise, float32", "1.00", "15,000", "2.0 GiB", "512 MiB")  # 1,109,545 x 50 / 3600
    assert speed.batches()[1] == ("channelwise, float32", "4.0 GiB", "8.0 GiB", "16.0 GiB", "32.0 GiB")
    assert "5.5 × 10¹⁸ FLOP" in speed.work()
    assert speed.gpus()[1] == ("L4", "121", "24 / 60 / 182", "637 / 255 / 85")
    assert speed.data_path()[-1][-1] == "1,200 to 5,000 × as fast"


def left_out(tmp_path, **scores):
    """A file with one task of six people, of whom two each score alike."""
    about = {"title": "Rest or work", "windows": "all", "people": [f"P{i}" for i in range(6)]}
    about["scores"] = {name: {"plain": 2 * values, "centred": 2 * values} for name, values in scores.items()}
    (tmp_path / "left_out.json").write_text(json.dumps({"rest": about}), encoding="utf-8")
    return quote.LeftOut(tmp_path / "left_out.json")


def test_a_line_of_a_data_set_left_out_has_every_seed_and_the_difference_to_their_mean(tmp_path):
    file = left_out(tmp_path, pretrained=[0.7, 0.8, 0.9], random0=[0.5, 0.6, 0.7], random1=[0.7, 0.8, 0.9])
    assert file.kinds == ("plain", "centred")
    _, line = file.table("plain")
    assert line[:5] == ["Rest or work", "6", "all", "0.800", "0.600, 0.800"]
    assert line[5].startswith("+0.100 [")


def test_scores_that_do_not_fit_the_people_are_an_error(tmp_path):
    file = left_out(tmp_path, pretrained=[0.7, 0.8, 0.9], random0=[0.5, 0.6])
    with pytest.raises(ValueError, match="shorter"):
        file.table("plain")


def trials(tmp_path):
    """A file of six people, with two seeds of everything short."""
    people = [f"P{i}" for i in range(6)]
    run = {"rebuilt": 0.6, "r2": {"alpha": 0.9, "beta": 0.8}, "plain": 3 * [0.7, 0.9]}
    runs = {f"{kind}_300_{seed}": run for kind in ("real", "half", "quarter", "synthetic", "both") for seed in (0, 1)}
    runs |= {f"{kind}_900_0": {**run, "rebuilt": 0.5} for kind in ("real", "half", "quarter")}
    runs |= {"random_0": {**run, "plain": 6 * [0.5]}, "random_1": {**run, "plain": 6 * [0.7]}}
    hours = {"real": 8.0, "half": 4.0, "quarter": 2.0, "synthetic": 6.0, "both": 14.0}
    (tmp_path / "trials.json").write_text(
        json.dumps({"people": people, "hours": hours, "runs": runs}), encoding="utf-8"
    )
    return quote.Pretraining(tmp_path / "trials.json")


def test_lines_of_trials_have_hours_steps_seeds_and_differences(tmp_path):
    made = trials(tmp_path)
    head, *lines = made.scaling()
    assert len(lines) == 6
    assert lines[0][:5] == ["a quarter", "2.0", "300", "2", "0.600 (0.600 to 0.600)"]
    assert lines[-1][:5] == ["all", "8.0", "900", "1", "0.500"]
    assert lines[0][-1].startswith("+0.200 [")
    assert [line[0] for line in made.mixtures()[1:]] == ["recordings", "synthetic EEG", "both"]
    assert head[0] == "data"


def test_figures_of_trials_are_the_same_every_time(tmp_path):
    made = trials(tmp_path)
    for folder in ("one", "two"):
        made.write_figures(tmp_path / folder)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["scaling.svg", "synthetic.svg"]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)
    assert all((quote.FIGURES / name).is_file() for name in names)
