"""Errors and cross-entropies of codes are what a naive loop measures, subject by subject."""

import numpy as np
import pytest
import torch
from tiny_data import eeg_uv, make_corpus, write_root
from torch.nn import functional as F

from mne_specmoe import save_brainrvq, save_tokenizer
from mne_specmoe.benchmark import starter_brainrvq
from mne_specmoe.benchmark.codes import level_errors, surprise, surprise_table, table
from mne_specmoe.benchmark.probe import eegmat
from mne_specmoe.models.brainrvq.objective import tokenizer_targets
from mne_specmoe.models.brainrvq.prediction import BrainRVQ
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer, Codes

NAMES = ("C3", "C4")
N_CODES = 8


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Subjects A and B to train on; C with one segment, and D with eleven, more than a batch holds."""
    folder = tmp_path_factory.mktemp("codes")
    training = {"A": eeg_uv(2, 2, 0), "B": eeg_uv(2, 3, 1)}
    held_out = {"C": eeg_uv(2, 1, 2), "D": eeg_uv(2, 11, 3)}
    return tuple(make_corpus(folder / name, s, ch_names=NAMES) for name, s in (("a", training), ("b", held_out)))


@pytest.fixture(scope="module")
def networks():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = BrainRVQTokenizer(n_codes=N_CODES, depth=1, decoder_depth=1, init="random").eval()
        return BrainRVQ(depth=1, n_codes=N_CODES).eval(), tokenizer


def units(corpus, subject) -> torch.Tensor:
    """All segments of a subject in units of 100 µV."""
    stored = corpus.read(np.flatnonzero(corpus.subject_of == subject))
    return torch.from_numpy(stored.values * stored.scale_uv[..., None] / 100).float()


@torch.no_grad()
def test_errors_of_levels_are_those_of_a_naive_loop(corpora, networks):
    _, held_out = corpora
    _, tokenizer = networks
    found = level_errors(held_out, tokenizer)
    assert found.subjects == ("C", "D")
    used = set()
    for place, subject in enumerate(found.subjects):
        x = units(held_out, subject)
        codes, target = tokenizer.encode(x, NAMES), tokenizer_targets(x.unflatten(-1, (3, 200)))
        used |= set(codes.time[1].flatten().tolist())
        for level in (1, 2, 3):
            rebuilt = tokenizer.decode(Codes(codes.time[:level], codes.frequency[:level]), NAMES)
            for name, errors in found.errors.items():
                expected = F.mse_loss(getattr(rebuilt, name), getattr(target, name))
                assert errors[level - 1, place] == pytest.approx(float(expected), rel=1e-4)
        moved = Codes(*(numbers[..., [2, 0, 1]] for numbers in codes))
        expected = F.mse_loss(tokenizer.decode(moved, NAMES).angle, target.angle)
        assert found.strangers["angle"][place] == pytest.approx(float(expected), rel=1e-4)
    assert found.n_used["time"][1] == len(used)
    change = found.errors["time"][1] - found.errors["time"][0]
    assert found.gain("time", 2).mean == pytest.approx(change.mean())
    assert "levels 1 to 3" in table(found)


@torch.no_grad()
def test_frequencies_of_codes_are_counted_in_training_and_tested_on_others(corpora, networks):
    training, held_out = corpora
    network, tokenizer = networks
    found = surprise(training, held_out, network, tokenizer)
    seen = torch.cat([tokenizer.encode(units(training, s), NAMES).frequency[2].flatten() for s in "AB"])
    share = (np.bincount(seen, minlength=N_CODES) + 1) / (len(seen) + N_CODES)
    for place, subject in enumerate(("C", "D")):
        codes = tokenizer.encode(units(held_out, subject), NAMES).frequency[2].numpy()
        assert found.by_frequency["frequency_3"][place] == pytest.approx(-np.log(share)[codes].mean(), rel=1e-5)
    # A network that has learnt nothing says next to nothing, which costs about as much as a guess.
    assert found.predicted["time_1"] == pytest.approx(np.log(N_CODES), abs=0.3)
    assert len(found.predicted) == 6
    assert "frequency_3" in surprise_table(found)


@torch.no_grad()
def test_a_network_that_knows_is_not_surprised(corpora, networks):
    training, held_out = corpora
    _, tokenizer = networks
    knows = BrainRVQ(depth=1, n_codes=N_CODES).eval()
    common = int(torch.mode(tokenizer.encode(units(held_out, "D"), NAMES).time[0].flatten()).values)
    knows.predict_time.heads[0].weight.zero_()
    knows.predict_time.heads[0].bias.zero_()
    codes = tokenizer.encode(units(held_out, "D"), NAMES).time[0]
    knows.predict_time.heads[0].bias[common] = 2.0
    found = surprise(training, held_out, knows, tokenizer)
    log_p = torch.log_softmax(knows.predict_time.heads[0].bias, 0)
    assert found.predicted["time_1"][1] == pytest.approx(-float(log_p[codes].mean()), rel=1e-4)


def test_the_command_line_measures_levels_prediction_and_probes(corpora, networks, tmp_path, capsys, monkeypatch):
    training, held_out = corpora
    encoder = str(save_brainrvq(networks[0], tmp_path / "encoder.safetensors"))
    tokenizer = str(save_tokenizer(networks[1], tmp_path / "tokenizer.safetensors"))
    starter_brainrvq.main(["levels", str(held_out.path), tokenizer])
    assert capsys.readouterr().out == table(level_errors(held_out, networks[1]))
    starter_brainrvq.main(["predict", str(training.path), str(held_out.path), encoder, tokenizer])
    assert capsys.readouterr().out == surprise_table(surprise(training, held_out, *networks))
    monkeypatch.setattr(starter_brainrvq, "TASKS", {"eegmat": eegmat})
    starter_brainrvq.main(["probe", str(write_root(tmp_path / "root")), encoder])
    shown = capsys.readouterr().out
    assert "3 subjects" in shown
    assert "trained encoder" in shown
