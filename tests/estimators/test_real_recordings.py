"""Real recordings of every format and of several corpora become features."""

import re
import warnings

import mne
import numpy as np
import pytest

from mne_specmoe import AmplitudeWarning, SpecMoEFeaturizer
from mne_specmoe.estimators.brainrvq import BrainRVQFeaturizer
from mne_specmoe.models.specmoe import published_layout
from mne_specmoe.nn.attention import query_normalised_attention

pytestmark = [pytest.mark.real_data, pytest.mark.filterwarnings("ignore::mne_specmoe.UntrainedWarning")]

FORMATS = [
    "edf_eegmat/Subject00_1.edf",
    "edf_eegmat/Subject00_2.edf",
    "edf_misc/mne_test.edf",
    "edf_misc/eeglab_test.edf",
    "bdf/mne_test.bdf",
    "bdf/eeglab_test.bdf",
    "gdf/S05_2012.07.19-11.24.02.gdf",
    "fif/data_resting_EO_200Hz_raw.fif",
    "brainvision/test.vhdr",
    "brainvision/testbva.vhdr",
    "set_eeglab/eeglab_data.set",
    "set_eeglab/eeglab_data_epochs_ica.set",
]
MISLABELLED = "gdf/S05_2012.07.19-11.24.02.gdf"  # millivolts, which its header calls microvolts
FLAT = "edf_misc/eeglab_test.edf"
# Channels that are no electrodes, or are named as on BioSemi's caps, and what is said of them.
NO_ELECTRODES = {
    "edf_eegmat/Subject00_1.edf": "no row for 1 of the 21 channels: 'ECG ECG'",
    "edf_eegmat/Subject00_2.edf": "no row for 1 of the 21 channels: 'ECG ECG'",
    "edf_misc/mne_test.edf": "no row for 138 of the 138 channels: 'A1'",
    "bdf/mne_test.bdf": "no row for 6 of the 72 channels: 'EXG1'",
    "bdf/eeglab_test.bdf": "no row for 16 of the 16 channels: 'A1'",
    "set_eeglab/eeglab_data.set": "no row for 2 of the 32 channels: 'EOG1'",
}
NO_ELECTRODE = r"ECG ECG|EXG\d|[RLI]?EOG\d?|[A-I]\d+|Ergo-\w+|Status"
READABLE = {".edf", ".bdf", ".gdf", ".fif", ".vhdr", ".set"}


def read_epochs(path):
    """A few epochs of 1 s, or the epochs that the file holds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MNE's, about headers
        if "epochs" in path.name:
            return mne.read_epochs_eeglab(path, verbose="ERROR")[:4]
        raw = mne.io.read_raw(path, verbose="ERROR")
        raw.crop(0, min(4.0, raw.times[-1]))
        return mne.make_fixed_length_epochs(raw, duration=1.0, preload=False, verbose="ERROR")


def test_no_recording_is_left_out(data_root):
    folder = data_root / "formats"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in READABLE}
    assert files == set(FORMATS)


@pytest.mark.parametrize("layout", ["channelwise", "published"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_file_becomes_finite_features(name, layout, data_root):
    epochs = read_epochs(data_root / "formats" / name)
    featurizer = SpecMoEFeaturizer(weights=None, n_experts=1, layout=layout, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        features = featurizer.fit_transform(epochs)
    assert features.shape == (len(epochs.drop_bad()), len(featurizer.get_feature_names_out()))
    assert len(features) > 0
    assert {"experts", "amplitude", "spectrum", "covariance"} <= set(featurizer.parts_)
    assert np.isfinite(features).all()
    assert name == FLAT or len(features) == 1 or features.std(0).max() > 1e-5
    warned = [warning for warning in caught if warning.category is AmplitudeWarning]
    assert bool(warned) == (name in (MISLABELLED, FLAT))


@pytest.mark.parametrize("name", FORMATS)
def test_every_file_becomes_features_of_brainrvq_or_names_its_strange_channels(name, data_root):
    epochs = read_epochs(data_root / "formats" / name)
    featurizer = BrainRVQFeaturizer(weights=None, depth=1, random_state=0)
    if name in NO_ELECTRODES:
        with pytest.raises(ValueError, match=NO_ELECTRODES[name]):
            featurizer.fit(epochs)
        electrodes = [ch for ch in epochs.ch_names if not re.fullmatch(NO_ELECTRODE, ch)]
        if not electrodes:
            return
        epochs = epochs.load_data().pick(electrodes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AmplitudeWarning)
        features = featurizer.fit_transform(epochs)
    assert features.shape == (len(epochs.drop_bad()), len(featurizer.get_feature_names_out()))
    assert {"encoder", "amplitude", "spectrum", "covariance"} <= set(featurizer.parts_)
    assert np.isfinite(features).all()
    assert name == FLAT or len(features) == 1 or features.std(0).max() > 1e-5


def test_the_mislabelled_recording_is_warned_about_until_it_is_put_right(data_root):
    epochs = read_epochs(data_root / "formats" / MISLABELLED)
    featurizer = SpecMoEFeaturizer(weights=None, n_experts=1, random_state=0)
    with pytest.warns(AmplitudeWarning, match=r"implausible for EEG.*to volts"):
        featurizer.fit(epochs)
    right = epochs.load_data().apply_function(lambda x: 1000 * x)
    with warnings.catch_warnings():
        warnings.simplefilter("error", AmplitudeWarning)
        featurizer.fit(right)


def arithmetic_epochs(path):
    """Epochs of one subject of EEGMAT in microvolts, (n_epochs, n_channels, n_times), and their rate."""
    with np.load(path) as file:
        volts = file["data"] * file["scale_uv_per_bit"][:, None] + file["offset_uv"][:, None]
        starts, sfreq = file["epoch_start_sample"], float(file["sfreq"])
    return np.stack([volts[:, start : start + round(4 * sfreq)] for start in starts]), sfreq


@pytest.mark.parametrize("subject", ["Subject00", "Subject17"])
def test_fused_and_blocked_attention_agree_on_real_epochs(subject, data_root, monkeypatch):
    X, sfreq = arithmetic_epochs(data_root / "eegmat" / f"{subject}.npz")
    featurizer = SpecMoEFeaturizer(
        None,
        n_experts=1,
        layout="published",
        sfreq=sfreq,
        unit="uV",
        parts=("experts",),
        channel_pooling=None,
        random_state=0,
    ).fit(X)
    calls, features = [], {}
    for form in ("blocked", "fused"):

        def attention(*args, form=form, **kwargs):
            calls.append(form)
            return query_normalised_attention(*args, form=form)

        monkeypatch.setattr(published_layout, "query_normalised_attention", attention)
        features[form] = featurizer.transform(X)
    assert set(calls) == {"blocked", "fused"}
    assert np.isfinite(features["fused"]).all()
    assert np.abs(features["fused"] - features["blocked"]).max() <= 1e-5 * np.abs(features["blocked"]).max()
