"""The gates open where pretraining helps in truth, and where it does not, about as rarely as they promise."""

import numpy as np
import pytest
from scipy import stats

from mne_specmoe.benchmark.intervals import bootstrap
from mne_specmoe.benchmark.statistics import (
    Difference,
    Interval,
    Rows,
    chance_normalised,
    critical_difference,
    four_gates,
    holm,
    paired_difference,
    ranking,
    sign_flip,
)

N_SUBJECTS = 20
NOISE = 0.05  # of a score, beside what all estimators find difficult in a subject
CHANCE, CLASSICAL, USEFUL = 0.5, 0.65, 0.75
FAST = {"n_draws": 200}


class Experiment:
    """Simulated scores of one task: the means are the truth."""

    def __init__(self, seed, n_subjects=N_SUBJECTS):
        self.rng = np.random.default_rng(seed)
        self.difficulty = self.rng.normal(0, 0.1, n_subjects)

    def scores(self, mean):
        values = mean + self.difficulty + self.rng.normal(0, NOISE, len(self.difficulty))
        return {f"s{i:03}": float(value) for i, value in enumerate(values)}

    def rows(self, pretrained=USEFUL, random=CLASSICAL, permuted=CHANCE, overlap=False):
        return Rows(self.scores(pretrained), self.scores(random), self.scores(permuted), overlap)

    def classical(self, best=CLASSICAL):
        return {"csp": self.scores(CHANCE + 0.02), "riemann": self.scores(best)}


def passes(n_experiments=100, best=CLASSICAL, **truth):
    """How often each gate passes, and all of them."""
    verdicts = []
    for seed in range(n_experiments):
        experiment = Experiment(seed)
        gates = four_gates({"model": experiment.rows(**truth)}, experiment.classical(best), **FAST)["model"]
        verdicts.append([verdict.passed is True for verdict in gates] + [gates.passed])
    return np.mean(verdicts, 0)


def test_useful_pretraining_passes_all_gates():
    assert (passes() > 0.95).all()


def test_pretraining_that_is_no_better_than_random_weights_fails_the_fourth_gate():
    *_, controlled, all_four = passes(random=USEFUL)
    assert controlled == all_four
    assert controlled < 0.1  # 0.025 in truth: chance, on one side


def test_weights_that_saw_the_task_fail_the_third_gate_only():
    better, significant, unseen, controlled, all_four = passes(overlap=True)
    assert min(better, significant, controlled) > 0.95
    assert unseen == all_four == 0


def test_permuted_labels_that_score_as_well_fail_the_fourth_gate():
    *_, controlled, all_four = passes(permuted=USEFUL)
    assert controlled == all_four
    assert controlled < 0.1


def test_a_classical_method_that_is_as_good_fails_the_second_gate():
    better, significant, _, _, all_four = passes(best=USEFUL)
    assert 0.3 < better < 0.7  # the first gate alone is a coin
    assert significant == all_four
    assert significant < 0.1


def test_an_estimator_that_is_clearly_worse_fails_although_its_interval_excludes_zero():
    experiment = Experiment(0)
    gates = four_gates({"model": experiment.rows(pretrained=0.4)}, experiment.classical(), **FAST)["model"]
    assert gates.significant.differences["riemann"].interval.high < 0
    assert gates.significant.differences["riemann"].p_corrected < 0.01
    assert [verdict.passed for verdict in gates] == [False, False, True, False]


def test_twenty_useless_estimators_rarely_open_the_second_gate_once_corrected():
    fired, uncorrected = 0, 0
    for seed in range(200):
        experiment = Experiment(seed, n_subjects=12)
        estimators = {str(i): Rows(experiment.scores(CLASSICAL)) for i in range(20)}
        gates = four_gates(estimators, {"riemann": experiment.scores(CLASSICAL)}, **FAST)
        differences = [each.significant.differences["riemann"] for each in gates.values()]
        fired += any(each.significant.passed for each in gates.values())
        uncorrected += any(each.interval.low > 0 for each in differences)
    assert fired / 200 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert uncorrected / 200 > 0.15  # which is why it is corrected


def test_correction_costs_a_useful_estimator_little_among_useless_ones():
    passed = []
    for seed in range(30):
        experiment = Experiment(seed)
        estimators = {str(i): experiment.rows(CLASSICAL) for i in range(9)} | {"useful": experiment.rows()}
        passed.append(four_gates(estimators, experiment.classical(), **FAST)["useful"].passed)
    assert np.mean(passed) > 0.9


def test_the_strongest_classical_method_is_the_rival():
    experiment = Experiment(1)
    gates = four_gates({"model": experiment.rows()}, experiment.classical(), **FAST)["model"]
    assert list(gates.better.differences) == list(gates.significant.differences) == ["riemann"]
    weaker = four_gates({"model": experiment.rows()}, experiment.classical(best=0.3), **FAST)["model"]
    assert list(weaker.better.differences) == ["csp"]


def test_verdicts_carry_the_numbers_behind_them():
    experiment = Experiment(2)
    rows, classical = experiment.rows(), experiment.classical()
    gates = four_gates({"model": rows, "other": experiment.rows(CLASSICAL)}, classical)["model"]
    expected = paired_difference(rows.pretrained, classical["riemann"])
    assert gates.significant.differences["riemann"] == expected._replace(p_corrected=2 * expected.p)
    assert gates.controlled.differences == {
        "random weights": paired_difference(rows.pretrained, rows.random),
        "permuted labels": paired_difference(rows.pretrained, rows.permuted),
    }
    assert str(expected.interval) in str(gates.significant)
    assert "riemann" in str(gates.better)


def test_a_missing_control_leaves_the_fourth_gate_unevaluated():
    experiment = Experiment(3)
    for missing in ("random", "permuted"):
        rows = experiment.rows()._replace(**{missing: None})
        gates = four_gates({"model": rows}, experiment.classical(), **FAST)["model"]
        assert [verdict.passed for verdict in gates] == [True, True, True, None]
        assert not gates.passed
        assert f"no scores of {missing}" in gates.controlled.reason
        assert len(gates.controlled.differences) == 1  # the other control is still stated
        assert str(gates.controlled).startswith("not evaluated")


def test_unknown_pretraining_data_leaves_the_third_gate_unevaluated():
    experiment = Experiment(4)
    gates = four_gates({"model": experiment.rows(overlap=None)}, experiment.classical(), **FAST)["model"]
    assert [verdict.passed for verdict in gates] == [True, True, None, True]
    assert not gates.passed


@pytest.mark.parametrize("missing", ["a method", "one of its subjects", "all"])
def test_missing_classical_scores_leave_the_first_two_gates_unevaluated(missing):
    experiment = Experiment(5)
    classical = experiment.classical()
    if missing == "a method":
        classical["csp"] = None  # it might have been the strongest
    elif missing == "one of its subjects":
        del classical["csp"]["s000"]
    else:
        classical = {}
    gates = four_gates({"model": experiment.rows()}, classical, **FAST)["model"]
    assert [verdict.passed for verdict in gates] == [None, None, True, True]
    assert ("'s000'" if missing == "one of its subjects" else "there ") in gates.better.reason


def test_an_estimator_that_crashed_is_not_evaluated_and_still_counts_in_the_correction():
    experiment = Experiment(6)
    estimators = {"model": experiment.rows(), "crashed": Rows(None, overlap=False)}
    gates = four_gates(estimators, experiment.classical(), **FAST)
    assert [verdict.passed for verdict in gates["crashed"]] == [None, None, True, None]
    difference = gates["model"].significant.differences["riemann"]
    assert difference.p_corrected == 2 * difference.p


def test_one_subject_decides_nothing():
    experiment = Experiment(7, n_subjects=1)
    gates = four_gates({"model": experiment.rows()}, experiment.classical(), **FAST)["model"]
    assert [verdict.passed for verdict in gates] == [None, None, True, None]


def test_five_subjects_are_too_few_for_a_significant_difference():
    better, worse = {str(i): 0.9 + i / 100 for i in range(6)}, {str(i): 0.5 for i in range(6)}
    assert paired_difference(better, worse, **FAST).above_zero
    del better["0"], worse["0"]
    five = paired_difference(better, worse, **FAST)
    assert five.interval.low > 0.3
    assert not five.above_zero


def test_scores_that_are_not_finite_are_refused_by_name():
    experiment = Experiment(8)
    rows = experiment.rows()
    rows.random["s003"] = np.nan
    with pytest.raises(ValueError, match="model, random are not finite for 's003'"):
        four_gates({"model": rows}, experiment.classical())


def test_subjects_are_paired_by_name_not_by_place():
    experiment = Experiment(9)
    first, second = experiment.scores(USEFUL), experiment.scores(CLASSICAL)
    shuffled = dict(reversed(second.items()))
    assert paired_difference(first, shuffled) == paired_difference(first, second)
    assert paired_difference(dict(reversed(first.items())), second) == paired_difference(first, second)
    differences = [first[subject] - second[subject] for subject in first]
    assert paired_difference(first, second).interval == bootstrap(differences)
    assert paired_difference(second, first).interval.mean == pytest.approx(-np.mean(differences))


@pytest.mark.parametrize(
    ("second", "message"),
    [({"a": 1.0}, "the second lacks scores of 'b'"), ({"a": 1.0, "b": 1.0, "c": 1.0}, "the first lacks scores of 'c'"),
     ({}, "no scores of the second")],
)  # fmt: skip
def test_refuses_to_pair_other_subjects(second, message):
    with pytest.raises(ValueError, match=message):
        paired_difference({"a": 1.0, "b": 2.0}, second)


def test_a_difference_is_above_zero_by_the_corrected_p_value_where_there_is_one():
    difference = Difference(Interval(0.1, 0.01, 0.2), p=0.04, n_subjects=20)
    assert difference.above_zero
    assert not difference._replace(p_corrected=0.08).above_zero
    assert not difference._replace(interval=Interval(0.1, -0.01, 0.2)).above_zero


def test_sign_flip_agrees_with_scipys_exact_permutation_test():
    rng = np.random.default_rng(10)
    for n_units in (2, 4, 9, 12):
        differences = rng.normal(0.4, 1, n_units).round(1)  # with ties
        theirs = stats.permutation_test(
            (differences, np.zeros(n_units)), lambda x, y: np.mean(x - y), permutation_type="samples",
            n_resamples=np.inf, vectorized=False,
        )  # fmt: skip
        assert sign_flip(differences) == pytest.approx(theirs.pvalue)


def test_drawn_signs_agree_with_the_normal_limit_and_the_seed():
    differences = np.random.default_rng(11).normal(0.2, 1, 100)
    z = differences.sum() / np.sqrt((differences**2).sum())
    assert sign_flip(differences, n_draws=20_000) == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.01)
    assert sign_flip(differences) == sign_flip(differences)
    assert sign_flip(differences) != sign_flip(differences, random_state=1)
    assert sign_flip(differences + 10, n_draws=1500) == 1 / 1501  # never zero


@pytest.mark.parametrize("n_units", [10, 30])
def test_sign_flip_is_wrong_as_often_as_it_says_also_with_heavy_tails(n_units):
    samples = np.random.default_rng(12).standard_t(2, size=(1000, n_units))
    p = np.array([sign_flip(sample, n_draws=300, random_state=i) for i, sample in enumerate(samples)])
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.021)  # three standard errors
    assert np.mean(p <= 0.5) == pytest.approx(0.5, abs=0.048)


def test_no_difference_has_p_1():
    assert sign_flip(np.zeros(5)) == sign_flip(np.zeros(50)) == 1
    assert sign_flip([0.1 + 0.2, -0.3]) == 1  # equal but for rounding


@pytest.mark.parametrize("differences", [[], [np.nan], [[1.0]]])
def test_sign_flip_refuses_what_are_no_differences(differences):
    with pytest.raises(ValueError, match="finite numbers, one per subject"):
        sign_flip(differences)


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]), ([0.02, 0.02], [0.04, 0.04]),
     ([0.5, 0.6, 0.7], [1, 1, 1]), ([0.03], [0.03]), ([], [])],
)  # fmt: skip
def test_holm_by_hand(p_values, corrected):
    assert holm(p_values) == pytest.approx(corrected)


def test_holm_is_between_no_correction_and_bonferronis():
    p_values = np.random.default_rng(13).uniform(size=50) ** 4
    corrected = holm(p_values)
    assert (corrected >= p_values).all()
    assert (corrected <= np.minimum(50 * p_values, 1)).all()
    assert (np.diff(corrected[p_values.argsort()]) >= 0).all()


@pytest.mark.parametrize("p_values", [[1.1], [-0.1, 0.5], [np.nan], [[0.5]]])
def test_holm_refuses_what_are_no_p_values(p_values):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm(p_values)


def test_chance_becomes_zero_and_perfection_one():
    assert chance_normalised(np.array([0.25, 1.0, 0.0]), 0.25) == pytest.approx([0, 1, -1 / 3])
    assert chance_normalised(0.8, 0.0) == 0.8  # such as Cohen's kappa
    for wrong in (1.0, -0.1, np.nan):
        with pytest.raises(ValueError, match="chance must be"):
            chance_normalised(0.5, wrong)
    for wrong in (1.1, np.nan):
        with pytest.raises(ValueError, match="1 at best"):
            chance_normalised(wrong, 0.5)


@pytest.mark.parametrize(
    ("n_estimators", "q"),
    [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (8, 3.031), (9, 3.102), (10, 3.164)],
)
def test_critical_difference_has_the_published_quantiles(n_estimators, q):
    # Demšar (2006), table 5a
    found = critical_difference(n_estimators, 14) / np.sqrt(n_estimators * (n_estimators + 1) / (6 * 14))
    assert found == pytest.approx(q, abs=0.0015)


def test_critical_difference_of_the_published_example():
    # Demšar (2006), section 3.2.2: four classifiers on 14 data sets
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.006)
    assert critical_difference(4, 14, alpha=0.10) == pytest.approx(1.12, abs=0.006)


def test_ranks_are_means_over_tasks_and_ties_share():
    scores = {"a": {"t1": 0.9, "t2": 0.5, "t3": 0.5}, "b": {"t2": 0.5, "t1": 0.8, "t3": 0.9},
              "c": {"t1": 0.1, "t2": 0.2, "t3": 0.95}}  # fmt: skip
    found = ranking(scores)
    assert found.ranks == pytest.approx({"a": (1 + 1.5 + 3) / 3, "b": (2 + 1.5 + 2) / 3, "c": (3 + 3 + 1) / 3})
    assert list(found.ranks)[-1] == "c"
    assert found.critical_difference == critical_difference(3, 3)
    assert found.n_tasks == 3


def test_ranking_refuses_estimators_that_lack_a_task():
    with pytest.raises(ValueError, match="'b' has no score of 't2'"):
        ranking({"a": {"t1": 0.9, "t2": 0.5}, "b": {"t1": 0.5}})
    with pytest.raises(ValueError, match="finite"):
        ranking({"a": {"t1": 0.9}, "b": {"t1": np.nan}})
    with pytest.raises(ValueError, match="n_estimators"):
        ranking({"a": {"t1": 0.9}})


def test_ranks_of_equal_estimators_rarely_differ_by_the_critical_difference():
    rng = np.random.default_rng(14)
    spread = []
    for _ in range(300):
        table = rng.normal(size=(4, 12))
        ranks = ranking({str(i): dict(enumerate(row)) for i, row in enumerate(table)}).ranks.values()
        spread.append(max(ranks) - min(ranks))
    assert np.mean(np.array(spread) >= critical_difference(4, 12)) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
