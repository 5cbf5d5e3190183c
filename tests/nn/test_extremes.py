"""Places of extremes are those that torch finds."""

import pytest
import torch

from mne_specmoe.nn.extremes import first_largest, first_smallest

PAIRS = ((first_smallest, torch.argmin), (first_largest, torch.argmax))


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("n_columns", [1, 40, 256, 300, 1024])
@pytest.mark.parametrize("n_rows", [0, 1, 7])
def test_places_are_those_of_torch(ours, theirs, n_columns, n_rows):
    x = torch.randn(n_rows, n_columns, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours(x), theirs(x, 1))


@pytest.mark.parametrize(("ours", "sign"), [(first_smallest, -1), (first_largest, 1)])
def test_of_equal_numbers_the_first_is_taken(ours, sign):
    x = torch.zeros(4, 1024)
    x[0, [700, 701, 300, 900]] = sign  # in one span, and in others
    x[1, [1023, 256]] = sign
    x[2, [255, 256]] = sign
    assert ours(x).tolist() == [300, 256, 255, 0]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_a_number_that_is_none_is_found(ours, theirs):
    x = torch.randn(2, 1024, generator=torch.Generator().manual_seed(0))
    x[0, [400, 800]] = torch.nan
    assert ours(x)[0] == theirs(x, 1)[0] == 400


def test_nothing_is_kept_for_gradients():
    x = torch.randn(2, 512, requires_grad=True)
    assert not first_largest(x).requires_grad
