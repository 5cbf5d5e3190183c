"""`diagnose` from weights and epochs to a verdict, and what it says of bad input."""

import json

import brainrvq_files
import mne
import numpy as np
import pytest
import torch
from brainrvq_files import fine_tuned_shapes, golden_tensors, pretraining_shapes
from specmoe_files import expert, published_expert, specmoe, write

from mne_specmoe import (
    BrainRVQ,
    BrainRVQTokenizer,
    CheckpointError,
    Diagnosis,
    SpecHiNet,
    diagnose,
    make_epochs,
    save_brainrvq,
    save_expert,
    save_specmoe,
    save_tokenizer,
)
from mne_specmoe.diagnosis.findings import UNKNOWN
from mne_specmoe.diagnosis.specmoe import SpecMoEExaminee
from mne_specmoe.diagnosis.weights import open_weights
from mne_specmoe.models.brainrvq.network import BrainRVQEncoder
from mne_specmoe.models.specmoe.network import STAGES

SIZES = {"n_levels": 2, "n_codes": 16}


@pytest.fixture(scope="module")
def epochs() -> mne.EpochsArray:
    """24 epochs of 4 people: 2 channels, 1.8 s."""
    return make_epochs(24, n_channels=2, duration=1.8, n_subjects=4)[0]


@pytest.fixture(scope="module")
def found(epochs) -> Diagnosis:
    return diagnose(expert(), epochs, "subject", n_random=2)


def unknown(diagnosis: Diagnosis) -> dict[str, str]:
    """What could not be measured, and why."""
    return {verdict.name: verdict.text for verdict in diagnosis.verdicts if verdict.status == UNKNOWN}


def test_every_number_is_there(found):
    assert (found.family, found.weights) == ("specmoe", "SpecHiNet")
    assert (found.n_epochs, found.n_people, found.n_channels, found.seconds) == (24, 4, 2, 1.8)
    assert tuple(found.trained.stages) == STAGES
    assert unknown(found) == {}
    first, second = found.random
    assert np.isfinite(first.stages["down1"].distance)
    assert np.isnan(second.stages["down1"].distance)
    assert np.isfinite(second.stages["down1"].participation_ratio)
    json.dumps(found.to_dict(), allow_nan=False)


def test_an_untrained_expert_has_learnt_nothing(found):
    assert found.healthy is False
    assert "features of another person" in found.summary


def test_the_same_seed_gives_the_same_numbers_and_the_global_seed_stays(epochs, found):
    state = torch.get_rng_state()
    again = diagnose(expert(), epochs, "subject", n_random=2)
    assert again == found
    assert torch.equal(torch.get_rng_state(), state)


def test_the_network_given_stays_as_it_is(epochs):
    network = expert().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    diagnose(network, epochs, "subject", n_random=0)
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_arrays_in_any_unit_and_with_any_names_of_people_are_the_same(epochs, found):
    microvolts = 1e6 * epochs.get_data()
    people = np.unique(epochs.metadata["subject"], return_inverse=True)[1] + 0.5
    other = diagnose(expert(), microvolts, people, unit="µV", ch_names=epochs.ch_names, n_random=0)
    for stage in STAGES:
        assert other.trained.stages[stage].participation_ratio == pytest.approx(
            found.trained.stages[stage].participation_ratio, rel=1e-3
        )


def test_the_epochs_used_can_be_limited(epochs):
    limited = diagnose(expert(), epochs, "subject", max_epochs=9, n_random=0)
    assert (limited.n_epochs, limited.n_people) == (8, 4)


def test_weights_may_be_random():
    examinee = open_weights(None, ch_names=None, n_channels=2)
    assert len(examinee.experts) == 3
    assert not torch.equal(*(next(each.parameters()) for each in examinee.experts[:2]))


# Weights


def test_files_and_lists_are_examined_as_their_networks(tmp_path, epochs, found):
    path = save_expert(expert(), tmp_path / "expert.safetensors")
    both = open_weights([path, str(path)], ch_names=None, n_channels=2)
    assert len(both.experts) == 2
    one = diagnose(path, epochs, "subject", n_random=0)
    assert one.weights == str(path)
    assert one.trained == found.trained


def test_published_experts_are_examined(tmp_path):
    examinee = open_weights(write(tmp_path / "expert.pth", published_expert()), ch_names=None, n_channels=3)
    assert isinstance(examinee, SpecMoEExaminee)
    assert examinee.experts[0].config.layout == "published"
    assert examinee.no_exchange is None


def test_a_specmoe_without_decoders_is_examined_but_for_the_exchange(tmp_path, epochs):
    path = save_specmoe(specmoe(), tmp_path / "specmoe.safetensors")
    found = diagnose(path, epochs, "subject", n_random=0)
    assert "without decoders" in unknown(found)["features of another person"]
    assert "mask" not in unknown(found)


def test_a_brainrvq_network_is_examined_with_its_tokenizer(tmp_path, epochs):
    torch.manual_seed(0)
    network = save_brainrvq(BrainRVQ(1, **SIZES), tmp_path / "brainrvq.safetensors")
    tokenizer = BrainRVQTokenizer(**SIZES, code_width=8, depth=1, decoder_depth=1, init="random")
    tokenizer = save_tokenizer(tokenizer, tmp_path / "tokenizer.safetensors")
    found = diagnose(network, epochs, "subject", tokenizer=tokenizer, n_random=1)
    assert found.family == "brainrvq"
    assert unknown(found) == {}
    assert "tokenizer" in unknown(diagnose(network, epochs, "subject", n_random=0))["features of another person"]
    with pytest.raises(CheckpointError, match="holds a tokenizer"):
        diagnose(tokenizer, epochs)


@pytest.mark.parametrize(
    ("shapes", "kind", "no_mask"),
    [
        (pretraining_shapes(depth=1, **SIZES), BrainRVQ, None),
        (fine_tuned_shapes(depth=1), BrainRVQEncoder, "fine-tuned"),
    ],
    ids=["pretrained", "fine-tuned"],
)
def test_published_files_of_brainrvq_are_examined(tmp_path, epochs, shapes, kind, no_mask):
    path = brainrvq_files.write(tmp_path / "published.pth", golden_tensors(shapes))
    examinee = open_weights(path, ch_names=epochs.ch_names, n_channels=2)
    assert isinstance(examinee.network, kind)
    assert (examinee.no_mask is None) == (no_mask is None)
    found = diagnose(path, epochs[:4], n_random=0)
    assert ("mask" in unknown(found)) == (no_mask is not None)


def test_brainrvq_needs_names_that_it_knows(epochs):
    with pytest.raises(ValueError, match="no row for 2 of the 2 channels"):
        diagnose("brainrvq-starter", epochs.get_data(), ch_names=["left", "right"])


def test_bundled_brainrvq_brings_its_tokenizer(epochs):
    examinee = open_weights("brainrvq-starter", ch_names=epochs.ch_names, n_channels=2)
    assert examinee.no_exchange is None


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ("absent.safetensors", FileNotFoundError, "no weights file"),
        ([], ValueError, "empty list"),
        (3, TypeError, "must be a file"),
        ([SpecHiNet(), "brainrvq-starter"], ValueError, "BrainRVQ, SpecHiNet; examine them one by one"),
        (["brainrvq-starter", "brainrvq-starter"], ValueError, "one by one"),
        ("brainrvq-starter-tokenizer", CheckpointError, "holds a tokenizer"),
    ],
)
def test_what_cannot_be_examined_is_refused(epochs, weights, error, message):
    with pytest.raises(error, match=message):
        diagnose(weights, epochs)


# Epochs and people


def test_one_person_leaves_questions_open(epochs):
    found = diagnose(expert(), epochs, n_random=0)
    assert found.n_people == 1
    assert {"band powers", "against random", "features of another person"} == set(unknown(found))
    assert "3 people, got 1" in unknown(found)["band powers"]
    assert "two people" in unknown(found)["features of another person"]
    assert found.trained.stages["down1"].shares["person"] == 0


def test_few_epochs_leave_questions_open(epochs):
    found = diagnose(expert(), epochs[[0, 1, 7, 8, 13, 14]], "subject", n_random=0)
    assert "20 epochs, got 6" in unknown(found)["dimensions"]
    assert "mask" not in unknown(found)
    lonely = diagnose(expert(), epochs[[0, 7, 13, 20]], "subject", n_random=0)
    assert "two epochs of a person" in unknown(lonely)["mask"]


def test_flat_epochs_are_left_out(epochs):
    volts = epochs.get_data()
    volts[3] = 0
    volts[5, 1] = 0  # one channel alone
    assert diagnose(expert(), volts, epochs.metadata["subject"], n_random=0).n_epochs == 23


def test_constant_epochs_alone_are_refused():
    with pytest.warns(match="constant"), pytest.raises(ValueError, match="no power from 1 to 45 Hz"):
        diagnose(expert(), np.zeros((5, 2, 400)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": ["a"] * 23}, r"each of the 24 epochs .* shape \(23,\)"),
        ({"groups": np.zeros((24, 2))}, "one entry per epoch"),
        ({"groups": [None, *["a"] * 23]}, "1 entries are missing, the first at 0"),
        ({"groups": [*[1.0] * 20, *[np.nan] * 4]}, "4 entries are missing, the first at 20"),
        ({"groups": "person"}, "no column 'person'; they have 'subject'"),
        ({"max_epochs": 1}, "max_epochs must be >= 2"),
        ({"n_random": -1}, "n_random must be >= 0"),
        ({"ch_names": ["C3", "Oz"]}, "'Oz'"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(epochs, change, message):
    with pytest.raises(ValueError, match=message):
        diagnose(expert(), epochs, **change)


def test_epochs_that_are_no_numbers_or_too_few_are_refused(epochs):
    volts = epochs.get_data()
    volts[2, 1, 7] = np.nan
    with pytest.raises(ValueError, match="NaN: first in epoch 2, channel 1"):
        diagnose(expert(), volts)
    with pytest.raises(ValueError, match="two or more, got 1"):
        diagnose(expert(), epochs[:1])
