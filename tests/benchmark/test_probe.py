"""Linear probes find what is there, nothing where there is nothing, and never see the subject they are tested on."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler
from tiny_data import HELD_OUT as TINY_HELD_OUT
from tiny_data import PATIENTS, write_root

from mne_specmoe.benchmark import probe as module
from mne_specmoe.benchmark.probe import Windows, band_power, compare, eegmat, guinea_bissau, probe, table
from mne_specmoe.benchmark.recordings import HELD_OUT, StoredRecording

pytestmark = pytest.mark.filterwarnings("error::UserWarning:sklearn")


@pytest.fixture
def two_strengths(monkeypatch):
    """Fewer fits, for tests in which the choice of the regularisation does not matter."""
    monkeypatch.setattr(module, "_STRENGTHS", [0.1, 1.0])


def make_windows(n_subjects=6, n_each=6, *, per_subject=False) -> Windows:
    """Labels alone; where subjects have one label, the first half has 0, which folds have to spread."""
    groups = np.repeat([f"S{number:02d}" for number in range(n_subjects)], n_each)
    y = np.repeat(np.arange(n_subjects) * 2 // n_subjects, n_each) if per_subject else np.arange(len(groups)) % 2
    return Windows(np.zeros((len(groups), 1, 800)), y, groups, per_subject)


def make_features(windows: Windows, distance: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(len(windows.y), 3))
    noise[:, 1] += distance * windows.y
    return noise


@pytest.mark.usefixtures("two_strengths")
@pytest.mark.parametrize("per_subject", [False, True])
def test_separable_labels_are_all_found(per_subject):
    windows = make_windows(per_subject=per_subject)
    assert np.array_equal(probe(windows, make_features(windows, 50.0)), np.ones(6))


@pytest.mark.usefixtures("two_strengths")
@pytest.mark.parametrize("per_subject", [False, True])
def test_permuted_labels_are_found_by_chance_only(per_subject):
    windows = make_windows(8, 6, per_subject=per_subject)
    features = make_features(windows, 50.0)
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(3):
        order = rng.permutation(8) if per_subject else None
        blocks = windows.y.reshape(8, 6)
        y = blocks[order] if per_subject else rng.permuted(blocks, axis=1)
        scores.append(probe(windows._replace(y=y.ravel()), features).mean())
    assert 0.25 < np.mean(scores) < 0.75
    assert probe(windows, features).mean() == 1.0


def test_no_subject_is_in_training_and_test(monkeypatch):
    pairs = []

    class Spy(StandardScaler):
        """Remembers which subjects it was fitted to, and to which it was applied later."""

        def fit_transform(self, X, y=None):
            scaled = super().fit_transform(X, y)
            self.seen_ = set(X[:, 0])
            return scaled

        def transform(self, X):
            if hasattr(self, "seen_"):
                pairs.append((self.seen_, set(X[:, 0])))
            return super().transform(X)

    monkeypatch.setattr(module, "StandardScaler", Spy)
    windows = make_windows()
    features = make_features(windows, 1.0)
    features[:, 0] = np.unique(windows.groups, return_inverse=True)[1]
    probe(windows, features)
    assert all(not seen & tested for seen, tested in pairs)
    everyone = set(range(6))
    last = [(seen, tested) for seen, tested in pairs if seen | tested == everyone]
    assert sorted(min(tested) for _, tested in last) == sorted(everyone)  # each subject once, against all others
    assert len(pairs) == 6 * (6 * 5 + 1)  # 6 strengths in 5 folds, and the test
    assert all(len(seen | tested) == 5 for seen, tested in pairs if (seen, tested) not in last)


class Says:
    """A model that gives back its features: probabilities of two labels."""

    classes_ = np.array([0, 1])

    def predict_proba(self, features):
        return features

    def predict(self, features):
        return features.argmax(1)


def test_windows_of_a_subject_with_one_label_vote_with_their_mean_probability():
    features = np.array([[0.55, 0.45], [0.55, 0.45], [0.05, 0.95]])
    assert module._right(Says(), features, np.ones(3, dtype=int), vote=True) == 1.0  # two of three windows are wrong
    assert module._right(Says(), features, np.zeros(3, dtype=int), vote=True) == 0.0


def test_labels_count_alike_where_a_subject_has_several():
    features = np.eye(2)[[0, 0, 0, 1]]
    assert module._right(Says(), features, np.array([0, 0, 1, 1]), vote=False) == 0.75
    assert module._right(Says(), features, np.array([0, 0, 0, 0]), vote=False) == 0.75
    assert module._right(Says(), features, np.array([0, 1, 1, 1]), vote=False) == pytest.approx((1 + 1 / 3) / 2)


@pytest.mark.usefixtures("two_strengths")
def test_scores_are_in_the_order_of_subjects():
    windows = make_windows()
    features = make_features(windows, 50.0)
    wrong = windows.groups == "S04"
    features[wrong, 1] = 50 - features[wrong, 1]
    order = np.random.default_rng(0).permutation(len(features))
    shuffled = Windows(*(part[order] for part in windows[:3]), per_subject=False)
    assert probe(shuffled, features[order]).tolist() == [1, 1, 1, 1, 0, 1]


@pytest.mark.usefixtures("two_strengths")
def test_kinds_of_features_are_compared_subject_by_subject():
    windows = make_windows()
    kinds = {"good": [make_features(windows, 50.0)], "mixed": [make_features(windows, d) for d in (50.0, 0.0)]}
    results = compare(windows, kinds, "good")
    scores = np.mean([probe(windows, part) for part in kinds["mixed"]], 0)
    assert results["good"] == ((1, 1, 1), (0, 0, 0))
    assert results["mixed"][0].mean == pytest.approx(scores.mean())
    assert results["mixed"][1].mean == pytest.approx(scores.mean() - 1)
    text = table("task", windows, results, "good")
    assert text.startswith("task: windows right, 6 subjects")
    assert all(str(number) in text for pair in results.values() for number in pair)


@pytest.mark.parametrize(("n_rows", "n_subjects", "message"), [(5, 6, "36 windows, got 5"), (24, 4, "three subjects")])
def test_what_cannot_be_probed_is_refused(n_rows, n_subjects, message):
    windows = make_windows(n_subjects, per_subject=True)
    with pytest.raises(ValueError, match=message):
        probe(windows, np.zeros((n_rows, 2)))


def test_band_power_of_a_sine_is_its_own():
    t = np.arange(800) / 200
    noise = 1e-9 * np.random.default_rng(0).normal(size=(2, 800))
    volts = np.array([[1e-5], [1e-4]]) * np.sin(2 * np.pi * 10 * t) + noise
    features = band_power(volts[None])[0]
    # The power of a sine is A²/2; as a density, that is spread over bins of half a hertz.
    assert features[2] == pytest.approx(np.mean([np.log10(a**2 / 2 / 0.5) for a in (1e-5, 1e-4)]), abs=0.01)
    assert features[7] == pytest.approx(1.0, abs=0.01)  # ±1: the powers differ by a factor of 100
    others = np.delete(features[:5], 2)
    assert (others < features[2] - 3).all()


def test_windows_across_the_seam_are_left_out_with_their_labels(tmp_path):
    write_root(tmp_path)
    path = tmp_path / "eegmat" / "Subject24.npz"
    whole = eegmat(tmp_path)
    recording = StoredRecording("eegmat", "Subject24", path)
    np.savez(path, **recording.arrays() | {"epoch_start_sample": np.array([0, 2500, 1000, 3000, 4000, 5500]),
                                           "labels": np.array([0, 1, 0, 1, 1, 0])})  # fmt: skip
    windows = eegmat(tmp_path)
    here = windows.groups == "Subject24"
    assert windows.y[here].tolist() == [0, 0, 1, 1]
    assert np.array_equal(windows.volts[here], whole.volts[whole.groups == "Subject24"][[0, 1, 3, 4]])


def test_tasks_hold_the_held_out_subjects_only(tmp_path):
    write_root(tmp_path)
    rest, groups = eegmat(tmp_path), guinea_bissau(tmp_path)
    assert set(rest.groups) == set(TINY_HELD_OUT["eegmat"])
    assert rest.volts.shape == (3 * 6, 2, 800)
    assert rest.y.tolist() == [0, 0, 0, 1, 1, 1] * 3
    assert set(groups.groups) == set(TINY_HELD_OUT["guinea_bissau"])
    assert groups.volts.shape == (6 * 3, 2, 800)
    assert np.array_equal(groups.y, np.isin(groups.groups, PATIENTS))
    assert (rest.per_subject, groups.per_subject) == (False, True)


@pytest.mark.real_data
def test_windows_of_eegmat_do_not_cross_the_seam(data_root):
    windows = eegmat(data_root)
    assert tuple(np.unique(windows.groups)) == HELD_OUT["eegmat"]
    for subject in HELD_OUT["eegmat"]:
        here = windows.groups == subject
        rest, arithmetic = StoredRecording("eegmat", subject, data_root / f"eegmat/{subject}.npz").prepared()
        for label, part in enumerate((rest, arithmetic)):
            joined = np.concatenate(windows.volts[here & (windows.y == label)], 1)
            assert np.array_equal(joined, part)  # 60 s, filled by 15 windows


@pytest.mark.real_data
def test_labels_of_guinea_bissau_are_those_of_the_groups(data_root):
    windows = guinea_bissau(data_root)
    assert set(windows.groups) == set(HELD_OUT["guinea_bissau"])
    for subject in HELD_OUT["guinea_bissau"]:
        recording = StoredRecording("guinea_bissau", subject, data_root / f"guinea_bissau/{subject}.npz")
        wanted = 0 if recording.meta()["group"] == "Control" else 1
        assert set(windows.y[windows.groups == subject]) == {wanted}
