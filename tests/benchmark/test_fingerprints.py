"""Fingerprints change with what matters, and not with the order of windows."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_tasks import SUBJECTS, noise_data

from mne_specmoe.benchmark.fingerprints import check_fingerprint, fingerprint
from mne_specmoe.benchmark.splits import by_subject

RULE = by_subject([SUBJECTS], 3)


def changed(data, name, place, value):
    """The same data but for one entry."""
    array = getattr(data, name).copy()
    array[place] = value
    return replace(data, **{name: array})


def complaint(data, rule=RULE) -> str:
    """What is said of data that should be the noise."""
    frozen = fingerprint(noise_data(), RULE(noise_data()))
    with pytest.raises(ValueError, match="'noise'") as error:
        check_fingerprint("noise", frozen, data, rule(data))
    return str(error.value)


def test_it_counts_subjects_and_windows():
    data = noise_data(3)
    found = fingerprint(data, RULE(data))
    assert (found.n_subjects, found.n_windows) == (6, (12, 6))


def test_the_order_of_windows_does_not_matter():
    data = noise_data()
    mixed = data.take(np.random.default_rng(0).permutation(len(data)))
    assert fingerprint(mixed, RULE(mixed)) == fingerprint(data, RULE(data))


def test_fewer_and_more_are_said():
    few = noise_data(subjects=SUBJECTS[:5])
    few = replace(few, digests=noise_data().digests)
    said = complaint(few)
    assert "fewer subjects (5, not 6)" in said
    assert "fewer windows of 'rest' (10, not 12)" in said
    assert "signals" not in said
    assert "more windows of 'task' (18, not 12)" in complaint(noise_data(6))


@pytest.mark.parametrize(("name", "value"), [("starts", 77), ("recordings", "P0-1")])
def test_another_time_or_recording_is_said(name, value):
    said = complaint(changed(noise_data(), name, 0, value))
    assert "as many subjects and windows, but other" in said


def test_swapped_labels_are_said():
    data = noise_data()
    assert "as many" in complaint(replace(data, y=1 - data.y))


def test_another_part_is_said():
    assert "as many" in complaint(noise_data(), by_subject([SUBJECTS[::-1]], 3))


def test_other_signals_are_said():
    data = noise_data()
    said = complaint(replace(data, digests={**data.digests, "P0": "1"}))
    assert "the files hold other signals" in said
    assert "as many" not in said
