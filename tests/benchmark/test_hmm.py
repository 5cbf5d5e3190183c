from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from planted import noise

from mne_specmoe.benchmark.hmm import chains, count_transitions, smooth


def data_of(recordings, starts, y=None):
    """Windows of 400 samples at these places."""
    data = noise(len(starts), 3)
    labels = np.zeros(len(starts), int) if y is None else np.array(y)
    return replace(data, recordings=np.array(recordings), starts=np.array(starts), y=labels)


def test_a_chain_ends_with_the_recording_and_at_a_gap():
    data = data_of(["b", "a", "a", "a", "b", "a"], [0, 400, 0, 1600, 400, 800])
    assert [chain.tolist() for chain in chains(data)] == [[2, 1, 5], [3], [0, 4]]


def test_a_chain_bears_with_starts_that_were_rounded():
    data = data_of(["a"] * 4, [0, 401, 800, 1220])
    assert [len(chain) for chain in chains(data)] == [3, 1]


def test_every_window_is_in_one_chain():
    data = noise(21, 3)
    found = np.concatenate(list(chains(data)))
    assert sorted(found.tolist()) == list(range(21))


def test_transitions_are_counted_within_chains_only():
    data = data_of(["a", "a", "a", "a", "b"], [0, 400, 800, 2000, 2400], [0, 0, 1, 2, 0])
    assert count_transitions(data).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_smoothing_is_the_sum_over_all_sequences_of_states():
    rng = np.random.default_rng(0)
    likelihoods, transitions, initial = rng.random((5, 3)), rng.random((3, 3)), rng.random(3)
    transitions /= transitions.sum(1, keepdims=True)
    initial /= initial.sum()
    expected = np.zeros((5, 3))
    for states in product(range(3), repeat=5):
        weight = initial[states[0]] * np.prod(likelihoods[range(5), states])
        weight *= np.prod([transitions[pair] for pair in zip(states[:-1], states[1:], strict=True)])
        expected[range(5), states] += weight
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(smooth(likelihoods, transitions, initial), expected)


def test_smoothing_corrects_one_unlikely_window():
    likelihoods = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]] + [[0.9, 0.1]] * 4)
    sticky = np.array([[0.95, 0.05], [0.05, 0.95]])
    found = smooth(likelihoods, sticky, np.array([0.5, 0.5]))
    assert likelihoods.argmax(1).tolist() != [0] * 9
    assert found.argmax(1).tolist() == [0] * 9


def test_smoothing_learns_nothing_from_transitions_that_forget():
    likelihoods = np.random.default_rng(0).random((6, 2))
    found = smooth(likelihoods, np.full((2, 2), 0.5), np.full(2, 0.5))
    np.testing.assert_allclose(found, likelihoods / likelihoods.sum(1, keepdims=True))


@pytest.mark.parametrize("n_windows", [1, 100_000])
def test_smoothing_does_not_underflow(n_windows):
    likelihoods = np.tile([1e-9, 2e-9], (n_windows, 1))
    found = smooth(likelihoods, np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0.5, 0.5]))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(1), 1)
