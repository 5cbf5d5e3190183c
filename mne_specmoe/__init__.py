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
        "assembly": ["assemble", "convert"],
        "data.build": ["build_corpus"],
        "data.corpus": ["Corpus", "partition_corpus"],
        "data.preprocessing": ["prepare_raw"],
        "data.sliceable": ["as_sklearn"],
        "data.sources": ["ArrayRecording"],
        "data.joining": ["join_corpora"],
        "data.synthesis": ["synthesize_corpus"],
        "data.synthetic": ["make_epochs"],
        "data.synthetic_labels": ["read_synthetic_labels"],
        "diagnosis.findings": ["Diagnosis"],
        "diagnosis.health": ["diagnose"],
        "estimators.brainrvq": ["BrainRVQClassifier", "BrainRVQFeaturizer", "BrainRVQRegressor"],
        "estimators.centring": ["center_covariances", "center_features"],
        "estimators.weights": ["untrained"],
        "estimators.specmoe": ["SpecMoEClassifier", "SpecMoEFeaturizer", "SpecMoERegressor"],
        "loaders.brainrvq": [
            "load_brainrvq",
            "load_downstream",
            "load_tokenizer",
            "save_brainrvq",
            "save_downstream",
            "save_tokenizer",
        ],
        "loaders.specmoe": [
            "load_expert",
            "load_experts",
            "load_specmoe",
            "save_expert",
            "save_experts",
            "save_specmoe",
        ],
        "models.brainrvq.channels": ["UntrainedChannelWarning"],
        "models.brainrvq.downstream": ["BrainRVQDownstream"],
        "models.brainrvq.masking": ["PatchMask", "PatchMaskConfig"],
        "models.brainrvq.prediction": ["BrainRVQ"],
        "models.brainrvq.tokenizer": ["BrainRVQTokenizer"],
        "models.specmoe.masking": ["GaussianStftMask", "MaskConfig"],
        "models.specmoe.mixture": ["SpecMoE"],
        "models.specmoe.network": ["SpecHiNet"],
        "pretraining.brainrvq": ["pretrain_brainrvq", "pretrain_tokenizer"],
        "pretraining.specmoe": ["pretrain"],
        "reconstruction": ["band_errors", "reconstruct"],
        "tokenization": ["TokenizedEpochs", "tokenize"],
        "training": ["Housekeeping", "TrainingConfig"],
        "viz": ["plot_diagnosis", "plot_gate", "plot_mask", "plot_reconstruction"],
    },
)
