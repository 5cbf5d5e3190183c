"""EEG foundation models behind the scikit-learn API, on :class:`mne.Epochs`."""

import lazy_loader as _lazy

__version__ = "0.1.0"

# Public name -> the module it lives in. Nothing is imported before it is asked for, so a network
# can be used on a machine that has neither mne nor skorch.
__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "_validation": [
            "AmplitudeWarning",
            "CheckpointError",
            "SpecMoEWarning",
            "UntrainedWarning",
        ],
        "checkpoint": ["load_expert", "load_specmoe", "save_expert", "save_specmoe"],
        "data.preprocessing": ["prepare_raw"],
        "data.sliceable": ["as_sklearn"],
        "data.synthetic": ["make_epochs"],
        "estimators.specmoe": ["SpecMoEClassifier", "SpecMoEFeaturizer", "SpecMoERegressor"],
        "models.specmoe.mixture": ["SpecMoE"],
        "models.specmoe.network": ["SpecHiNet"],
    },
)
