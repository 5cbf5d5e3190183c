"""The report's numbers are those that one computes from the records by hand."""

import numpy as np
import pytest
from made_up_results import done, estimator, failed, make_plan, scores_of, write

from mne_specmoe.benchmark.plan import cells_of
from mne_specmoe.benchmark.report_rows import metrics_of, progress, read_results, versions_of
from mne_specmoe.benchmark.report_tables import Difference, against_chance, over_chance, rank, task_numbers
from mne_specmoe.benchmark.results import ResultsFile
from mne_specmoe.benchmark.scoring import pooled_confusion
from mne_specmoe.benchmark.statistics import holm, paired_difference

METRIC = "balanced_accuracy"
PRETRAINED = ("good", "useless", "familiar")


@pytest.fixture(scope="module")
def plan():
    return make_plan()


@pytest.fixture(scope="module")
def results(plan, tmp_path_factory):
    return read_results(write(tmp_path_factory.mktemp("whole") / "results.jsonl", plan))


@pytest.fixture
def make(plan, tmp_path):
    """Read a file in which some records are others."""
    return lambda change, plan=plan: read_results(write(tmp_path / "results.jsonl", plan, change=change))


def records_of(results, task, name):
    return [r for r in results.records.values() if (r["task"], r["estimator"]) == (task, name)]


def means_of(results, task, name, subjects=None):
    """Subject → mean over seeds, the slow way."""
    scores = {}
    for record in records_of(results, task, name):
        for who, score in record["scores"][METRIC].items():
            scores.setdefault(who, []).append(score)
    return {who: sum(part) / len(part) for who, part in scores.items() if subjects is None or who in subjects}


def test_a_score_is_the_mean_over_all_cells_of_the_score_of_a_test_part(results):
    row = task_numbers(results, "rest").rows["eegnet"]
    values = [record["pooled"][METRIC] for record in records_of(results, "rest", "eegnet")]
    assert len(values) == 4  # two folds, two seeds
    assert row.main(METRIC).mean == pytest.approx(sum(values) / 4)
    assert row.main(METRIC).sd == pytest.approx(np.std(values, ddof=1))
    assert str(row.main(METRIC)) == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def test_a_score_over_chance_is_nought_for_guesses(results):
    numbers = task_numbers(results, "sleep")
    row = numbers.rows["good"]
    assert over_chance(row, numbers.facts) == pytest.approx((row.main(METRIC).mean - 1 / 3) / (2 / 3))


def test_folds_are_pooled_where_a_test_part_lacks_a_class_and_nowhere_else(results):
    assert [task_numbers(results, task).n_lacking for task in ("rest", "diagnosis", "sleep")] == [0, 0, 1]
    row = task_numbers(results, "sleep").rows["good"]
    by_seed = [[r["confusion"] for r in records_of(results, "sleep", "good") if r["seed"] == seed] for seed in range(2)]
    pooled = [pooled_confusion(part)[METRIC] for part in by_seed]
    assert row.main(METRIC) == pytest.approx((np.mean(pooled), np.std(pooled, ddof=1), 2))
    assert row.means == {"s00": pytest.approx(np.mean(pooled))}
    assert row.main(METRIC).mean != pytest.approx(row.cells[METRIC].mean)
    assert not task_numbers(results, "rest").rows["good"].folds


def test_pooled_folds_agree_with_the_formulas(results):
    counts = sum(np.array(m) for r in records_of(results, "sleep", "bands") for m in r["confusion"].values())
    row = task_numbers(results, "sleep").rows["bands"]
    assert {metric: spread.mean for metric, spread in row.folds.items()} == pytest.approx(scores_of(counts))


def test_a_metric_that_confusions_do_not_hold_is_not_pooled(make, plan):
    def with_area(cell, record):
        return (
            {**record, "pooled": {**record["pooled"], "auroc": 0.5 + cell.fold / 4}} if cell.task == "sleep" else record
        )

    row = task_numbers(make(with_area), "sleep").rows["bands"]
    assert "auroc" not in row.folds
    assert row.main("auroc").mean == pytest.approx(0.625)
    assert metrics_of([row], METRIC)[0] == METRIC


def test_differences_are_paired_and_corrected_within_a_role(results):
    comparison = task_numbers(results, "rest").everyone
    assert comparison.strongest == "riemann"
    rival = means_of(results, "rest", "riemann")
    expected = {name: paired_difference(means_of(results, "rest", name), rival) for name in PRETRAINED}
    corrected = holm([each.p for each in expected.values()])
    for (name, difference), p in zip(expected.items(), corrected, strict=True):
        assert comparison.differences[name] == difference._replace(p_corrected=pytest.approx(p))
    assert comparison.differences["eegnet"].p_corrected == comparison.differences["eegnet"].p  # the only peer
    assert "riemann" not in comparison.differences


def test_what_centres_subjects_is_compared_with_its_like_and_changes_nothing_for_others(make, results, plan):
    more = {**plan, "estimators": dict(plan["estimators"])}
    no_identity = {"whose": "it is no probe"}
    for name in ("riemann", "bands"):
        more["estimators"][f"{name}_centred"] = estimator(f"{name}, centred", "classical", unsuited=no_identity) | {
            "is_centred": True
        }
    skill = {"riemann_centred": 0.95, "bands_centred": 0.8}
    found = make(lambda cell, record: done(more, cell, skill=skill.get(cell.estimator)), more)
    comparison, before = (task_numbers(each, "rest").everyone for each in (found, results))
    assert (comparison.strongest, comparison.strongest_centred) == ("riemann", "riemann_centred")
    assert before.strongest_centred is None
    rival = means_of(found, "rest", "riemann_centred")
    expected = paired_difference(means_of(found, "rest", "bands_centred"), rival)
    assert comparison.differences["bands_centred"] == expected._replace(p_corrected=expected.p)
    assert comparison.gates == before.gates
    for name, difference in before.differences.items():
        assert comparison.differences[name] == difference
    assert not {"riemann_centred", "bands_centred"} & set(rank(found, [task_numbers(found, "rest")] * 2).ranks)


def test_useful_pretraining_passes_all_gates_and_useless_pretraining_does_not(results):
    comparison = task_numbers(results, "rest").everyone
    assert comparison.gates["good"].passed
    assert comparison.best_pretrained == "good"
    useless = comparison.gates["useless"]
    assert (useless.better.passed, useless.significant.passed, useless.unseen.passed) == (False, False, True)
    assert useless.controlled.passed is False
    assert set(comparison.gates) == set(PRETRAINED)


def test_the_fourth_gate_compares_with_the_estimators_own_controls(results):
    gates = task_numbers(results, "rest").everyone.gates["familiar"]
    own = means_of(results, "rest", "familiar")
    for kind, control in {"random weights": "familiar_random", "permuted labels": "familiar_permuted"}.items():
        assert gates.controlled.differences[kind] == paired_difference(own, means_of(results, "rest", control))


def test_the_third_gate_fails_for_seen_subjects_and_passes_on_the_others(results):
    numbers = task_numbers(results, "rest")
    assert numbers.everyone.gates["familiar"].unseen.passed is False
    assert not numbers.everyone.gates["familiar"].passed
    assert numbers.unseen.gates["familiar"].passed
    assert numbers.unseen.subjects == {f"s{i:02}" for i in range(4, 12)}


def test_the_comparison_on_unseen_subjects_uses_them_alone(results):
    unseen = task_numbers(results, "rest").unseen
    scores = {name: means_of(results, "rest", name, unseen.subjects) for name in ("familiar", unseen.strongest)}
    found = unseen.differences["familiar"]
    assert found.n_subjects == 8
    assert found.interval == paired_difference(scores["familiar"], scores[unseen.strongest]).interval
    assert unseen.means["familiar"] == pytest.approx(np.mean(list(scores["familiar"].values())))


def test_there_is_no_comparison_on_unseen_subjects_where_nobody_or_everybody_was_seen(make, plan):
    everybody = [f"s{i:02}" for i in range(20)]
    plan = {**plan, "estimators": {**plan["estimators"]}}
    plan["estimators"]["good"] = {**plan["estimators"]["good"], "seen": {"diagnosis": everybody, "rest": everybody}}
    results = make(lambda cell, record: done(plan, cell), plan)
    assert task_numbers(results, "sleep").unseen is None
    diagnosis = task_numbers(results, "diagnosis")
    assert diagnosis.unseen is None
    assert diagnosis.everyone.gates["good"].unseen.passed is False
    rest = task_numbers(results, "rest")  # where `familiar` saw a part
    assert len(rest.unseen.subjects) == 8
    assert rest.left_out == ["good"]
    assert rest.unseen.gates["good"].unseen.passed is False


def test_unknown_pretraining_data_leaves_the_third_gate_open(make, plan):
    plan = {**plan, "estimators": {**plan["estimators"]}}
    plan["estimators"]["good"] = {**plan["estimators"]["good"], "seen": {"rest": ["unknown"]}}
    results = make(lambda cell, record: done(plan, cell), plan)
    gates = task_numbers(results, "rest").everyone.gates["good"]
    assert gates.unseen.passed is None
    assert not gates.passed


def test_a_record_that_says_overlap_is_believed_where_the_plan_is_silent(make, plan):
    def overlapping(cell, record):
        return {**record, "overlap": True} if cell.estimator == "good" and cell.fold == 0 else record

    gates = task_numbers(make(overlapping), "rest").everyone.gates["good"]
    assert gates.unseen.passed is False


def test_one_subject_is_not_compared(results):
    numbers = task_numbers(results, "sleep")
    assert set(numbers.everyone.differences.values()) == {"one subject"}
    assert not numbers.everyone.gates["good"].passed
    assert against_chance(results, numbers, "good_permuted") is None


@pytest.mark.parametrize(
    ("outcome", "problem"), [("failed", "of 4 cells 1 failed"), ("missing", "of 4 cells 1 not run")]
)
def test_an_estimator_that_lacks_a_cell_is_not_compared_and_not_averaged_for_it(make, plan, outcome, problem):
    def change(cell, record):
        if (cell.task, cell.estimator, cell.fold, cell.seed) != ("rest", "good", 0, 0):
            return record
        return failed(plan, cell) if outcome == "failed" else None

    numbers = task_numbers(make(change), "rest")
    row = numbers.rows["good"]
    assert row.means is None
    assert row.problem == numbers.everyone.differences["good"] == problem
    assert numbers.everyone.means["good"] is None
    assert numbers.everyone.best_pretrained == "familiar"
    assert not numbers.everyone.gates["good"].passed
    assert over_chance(row, numbers.facts) is None
    assert [each.name for each in numbers.of_role("pretrained")][-1] == "good"  # in spite of its cells' scores
    assert isinstance(numbers.everyone.differences["familiar"], Difference)


def test_without_a_classical_methods_scores_nothing_is_compared(make, plan):
    numbers = task_numbers(make(lambda cell, r: None if cell.estimator == "bands" else r), "rest")
    assert numbers.everyone.strongest is None
    assert numbers.everyone.differences["good"] == "there are no scores of Band power"
    assert not numbers.everyone.helped


def test_a_failed_control_leaves_the_fourth_gate_open(make, plan):
    results = make(lambda cell, r: failed(plan, cell) if cell.estimator == "good_random" else r)
    gates = task_numbers(results, "rest").everyone.gates["good"]
    assert gates.controlled.passed is None
    assert not gates.passed


def test_rows_are_sorted_by_role_and_score(results):
    rows = list(task_numbers(results, "rest").rows.values())
    assert [row.role for row in rows] == sorted(
        (row.role for row in rows), key=["pretrained", "classical", "peer", "control", "chance"].index
    )
    controls = [row.main(METRIC).mean for row in rows if row.role == "control"]
    assert controls == sorted(controls, reverse=True)


def test_an_estimator_that_does_not_suit_a_task_has_no_row(results):
    assert "riemann" not in task_numbers(results, "whose").rows
    assert progress(results, cells_of(results.plan, "whose", "riemann")).n_planned == 0


def test_permuted_labels_are_at_chance_and_good_scores_are_not(results):
    numbers = task_numbers(results, "rest")
    assert not against_chance(results, numbers, "good_permuted").above_zero
    assert against_chance(results, numbers, "good").above_zero


def test_always_guessing_the_majority_of_subjects_is_at_chance(make, plan):
    plan = {**plan, "tasks": {**plan["tasks"], "diagnosis": {**plan["tasks"]["diagnosis"], "folds": ["all"]}}}

    def guess(cell, record):
        record = done(plan, cell)
        if (cell.task, cell.estimator) == ("diagnosis", "dummy"):
            for i in range(20):  # 16 of the first class, 4 of the second, and "first" said of all
                label = int(i % 5 == 0)
                record["confusion"][f"s{i:02}"] = np.eye(2, dtype=int)[[label]].T @ [[1, 0]]
                record["confusion"][f"s{i:02}"] = record["confusion"][f"s{i:02}"].tolist()
                record["scores"][METRIC][f"s{i:02}"] = 1.0 - label
        return record

    results = make(guess, plan)
    numbers = task_numbers(results, "diagnosis")
    assert numbers.everyone.means["dummy"] == pytest.approx(0.8)
    assert against_chance(results, numbers, "dummy").interval.mean == pytest.approx(0)


def test_ranks_are_of_estimators_with_all_scores_and_of_no_permuted_labels(results, make, plan):
    tasks = [task_numbers(results, name) for name in results.tasks()]
    found = rank(results, tasks)
    assert found.n_tasks == 3
    assert found.ranks["good"] == 1
    assert "good_random" in found.ranks
    assert not {"good_permuted", "good_flat"} & set(found.ranks)
    assert isinstance(rank(results, tasks[:1]), str)
    partial = make(lambda cell, r: None if (cell.task, cell.estimator) == ("sleep", "good") else r)
    assert "good" not in rank(partial, [task_numbers(partial, name) for name in partial.tasks()]).ranks


def test_versions_are_gathered_from_all_cells(make):
    results = make(lambda cell, r: {**r, "versions": {"numpy": "2.2"}} if cell.seed else r)
    assert versions_of(results) == {"numpy": ["2.1", "2.2"]}


def test_a_metric_that_is_better_when_smaller_is_not_compared(make, plan):
    rest = {**plan["tasks"]["rest"], "metric": "rmse", "chance": None}
    plan = {**plan, "tasks": {"rest": rest}}

    def regression(cell, record):
        score = 1 + "good random useless riemann".find(cell.estimator)
        return {**record, "scores": {"rmse": {"s00": score, "s01": 1}}, "pooled": {"rmse": score}, "confusion": {}}

    numbers = task_numbers(make(regression, plan), "rest")
    assert "the better the smaller" in numbers.rows["good"].problem
    assert not numbers.everyone.helped
    assert over_chance(numbers.rows["good"], numbers.facts) is None


def test_titles_that_occur_twice_are_told_apart(make, plan):
    twice = estimator("Tangent space", "classical")
    plan = {**plan, "estimators": {**plan["estimators"], "other": twice}}
    results = make(lambda cell, record: done(plan, cell), plan)
    rows = task_numbers(results, "rest").rows
    assert [rows[name].title for name in ("riemann", "other")] == ["Tangent space (riemann)", "Tangent space (other)"]


def test_files_that_are_no_results_of_a_benchmark_are_refused(tmp_path, plan):
    path = tmp_path / "results.jsonl"
    path.write_text("")
    with pytest.raises(ValueError, match="no header of mne-specmoe benchmark results"):
        read_results(path)
    path.write_text('{"a": 1}\n')
    with pytest.raises(ValueError, match="no header of mne-specmoe benchmark results"):
        read_results(path)
    path.unlink()
    ResultsFile(path).open({"tasks": ["rest"]}, {"rest": "a"})
    with pytest.raises(ValueError, match=r"not that of a benchmark run.*'estimators'.*mne-specmoe benchmark run"):
        read_results(path)


def test_a_plan_that_lacks_a_field_is_refused_with_its_name(tmp_path, plan):
    rest = {key: value for key, value in plan["tasks"]["rest"].items() if key != "chance"}
    ResultsFile(tmp_path / "results.jsonl").open({**plan, "tasks": {"rest": rest}}, {"rest": "a"})
    with pytest.raises(ValueError, match=r"tasks\.rest\.chance"):
        read_results(tmp_path / "results.jsonl")


def test_records_outside_of_the_plan_are_refused(tmp_path, plan):
    path = write(tmp_path / "results.jsonl", plan)
    file = ResultsFile(path)
    file.open(file.header()["plan"], file.header()["split_hashes"])
    cell = cells_of(plan, "rest", "good")[0]
    file.append({**done(plan, cell), "estimator": "stranger"})
    with pytest.raises(ValueError, match="rest, stranger, fold 0, seed 0"):
        read_results(path)
