import numpy as np
import pytest
import torch

from mne_specmoe import AmplitudeWarning, CheckpointError, make_epochs
from mne_specmoe.models.brainrvq.objective import tokenizer_targets
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer, Codes
from mne_specmoe.tokenization import tokenize

NAMES = ["C3", "Cz", "C4"]

pytestmark = pytest.mark.filterwarnings("ignore:The checkpoint was never trained")


@pytest.fixture(scope="module")
def tokenizer():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BrainRVQTokenizer(n_codes=16, depth=1, decoder_depth=1, init="random").eval()


def noise(n_epochs, n_times, seed=0):
    return 2e-5 * np.random.default_rng(seed).standard_normal((n_epochs, 3, n_times))


def test_codes_are_those_of_the_network(tokenizer):
    x = noise(5, 800)
    tokens = tokenize(x, tokenizer, ch_names=NAMES, batch_size=2)
    units = torch.from_numpy(x * 1e4).float()
    codes = tokenizer.encode(units, NAMES)
    np.testing.assert_array_equal(tokens.time, codes.time)
    np.testing.assert_array_equal(tokens.frequency, codes.frequency)
    with torch.no_grad():
        for level in (1, 3):
            expected = tokenizer.decode(Codes(codes.time[:level], codes.frequency[:level]), NAMES)
            for name, rebuilt in tokens.rebuilt.items():
                np.testing.assert_allclose(rebuilt[level - 1], getattr(expected, name), rtol=1e-4, atol=1e-5)
    for name, target in tokenizer_targets(units.unflatten(-1, (-1, 200)))._asdict().items():
        np.testing.assert_allclose(tokens.target[name], target, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(tokens.original, x, atol=1e-9)
    assert tokens.importance.shape == (5, 3, 4)
    assert tokens.importance.min() >= 0
    assert tokens.importance.max() <= 1


def test_waveform_has_mean_and_deviation_of_the_original(tokenizer):
    x = noise(2, 600) + 1e-5
    tokens = tokenize(x, tokenizer, ch_names=NAMES)
    perfect = tokens.target["time"]
    tokens.rebuilt["time"][:] = perfect
    np.testing.assert_allclose(tokens.waveform(1), x, atol=1e-7)
    assert tokens.errors()["time"] == pytest.approx([0, 0, 0])
    for wrong in (0, 4):
        with pytest.raises(ValueError, match="n_levels"):
            tokens.waveform(wrong)


def test_long_epochs_are_cut_into_windows(tokenizer):
    x = noise(2, 61 * 200 + 30)
    tokens = tokenize(x, tokenizer, ch_names=NAMES)
    assert tokens.time.shape == (3, 2, 3, 61)
    assert tokens.original.shape == (2, 3, 61 * 200)
    first, last = (tokenize(part, tokenizer, ch_names=NAMES) for part in (x[..., : 21 * 200], x[..., 41 * 200 :]))
    np.testing.assert_array_equal(tokens.time[..., :21], first.time)
    np.testing.assert_array_equal(tokens.frequency[..., 41:], last.frequency)
    np.testing.assert_allclose(tokens.rebuilt["angle"][:, :, :, 41:], last.rebuilt["angle"], rtol=1e-4, atol=1e-5)


def test_epochs_and_arrays_give_the_same(tokenizer):
    epochs, _, _ = make_epochs(4, n_channels=3, n_classes=2)
    of_epochs = tokenize(epochs, tokenizer)
    of_array = tokenize(1e6 * epochs.get_data(), tokenizer, unit="uV", ch_names=epochs.ch_names)
    np.testing.assert_array_equal(of_epochs.time, of_array.time)
    assert of_epochs.ch_names == tuple(epochs.ch_names)


def test_bad_input_is_refused(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="names of the channels"):
        tokenize(noise(1, 400), tokenizer)
    with pytest.raises(ValueError, match="X9"):
        tokenize(noise(1, 400), tokenizer, ch_names=["C3", "X9", "C4"])
    with pytest.raises(TypeError, match="BrainRVQTokenizer"):
        tokenize(noise(1, 400), tokenizer.encoder, ch_names=NAMES)
    (tmp_path / "no.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError):
        tokenize(noise(1, 400), tmp_path / "no.safetensors", ch_names=NAMES)
    with pytest.warns(AmplitudeWarning):
        tokenize(1e6 * noise(1, 400), tokenizer, ch_names=NAMES)


def test_the_callers_tokenizer_stays_as_it_is(tokenizer):
    trained = BrainRVQTokenizer(n_codes=16, depth=1, decoder_depth=1, init="random").train()
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    tokenize(noise(2, 400), trained, ch_names=NAMES)
    assert trained.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())
