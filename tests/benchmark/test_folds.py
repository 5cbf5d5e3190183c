"""The test part stays shut until the selection is closed, and opens once."""

import numpy as np
import pytest
from tiny_tasks import SUBJECTS, noise_data

from mne_specmoe.benchmark.folds import make_folds
from mne_specmoe.benchmark.splits import by_subject


@pytest.fixture
def data():
    return noise_data()


@pytest.fixture
def split(data):
    return by_subject([SUBJECTS], 3)(data)


@pytest.fixture
def fold(data, split):
    return make_folds(data, split)[0]


def test_parts_are_those_of_the_split(data, split, fold):
    parts = {"training": fold.training(), "validation": fold.validation()}
    parts["test"] = fold.test(fold.close_selection({"C": 1}))
    for name, places in split.folds[0].parts():
        assert np.array_equal(parts[name].X, data.X[places])
        assert np.array_equal(parts[name].y, data.y[places])
        assert parts[name].subjects.tolist() == data.subjects[places].tolist()
        assert parts[name].starts.tolist() == data.starts[places].tolist()
    assert fold.name == split.folds[0].name


def test_the_test_part_is_shut_while_something_can_be_selected(data, split, fold):
    token = make_folds(data, split)[0].close_selection({"C": 1})  # of another run
    with pytest.raises(ValueError, match="shut.*close_selection"):
        fold.test(token)


def test_another_token_does_not_open(data, split, fold):
    fold.close_selection({"C": 1})
    other = make_folds(data, split)[0].close_selection({"C": 2})
    with pytest.raises(ValueError, match="does not open"):
        fold.test(other)


def test_the_test_part_opens_once(fold):
    token = fold.close_selection({"C": 1})
    fold.test(token)
    with pytest.raises(ValueError, match="opened before"):
        fold.test(token)


def test_a_selection_is_closed_once(fold):
    fold.close_selection({"C": 1})
    with pytest.raises(ValueError, match="closed already"):
        fold.close_selection({"C": 2})


def test_a_choice_has_to_be_stated(fold):
    with pytest.raises(ValueError, match="choice is empty"):
        fold.close_selection({})
    with pytest.raises(TypeError):
        fold.close_selection({"model": object()})
    fold.close_selection({"seed": 0})  # neither of the two closed it


def test_tokens_tell_folds_and_choices_apart(data, split):
    first, second = (make_folds(data, split) for _ in range(2))
    tokens = [first[0].close_selection({"a": 1, "b": 2}), second[0].close_selection({"b": 2, "a": 1})]
    assert tokens[0] == tokens[1]
    assert first[1].close_selection({"a": 1, "b": 2}) != tokens[0]
    assert make_folds(data, split)[0].close_selection({"a": 1, "b": 3}) != tokens[0]


def test_what_is_handed_out_is_a_copy(data, fold):
    before = data.X.copy()
    fold.training().X[:] = 0
    assert np.array_equal(data.X, before)
