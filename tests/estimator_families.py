"""The estimators of every model family, and what differs between families in tests of what they share."""

from mne_specmoe import SpecMoEClassifier, SpecMoEFeaturizer, SpecMoERegressor
from mne_specmoe.estimators.brainrvq import BrainRVQClassifier, BrainRVQFeaturizer, BrainRVQRegressor
from mne_specmoe.models.brainrvq.downstream import Readout as BrainRVQReadout
from mne_specmoe.models.specmoe.mixture import Readout as SpecMoEReadout

SPECMOE = (SpecMoEFeaturizer, SpecMoEClassifier, SpecMoERegressor)
BRAINRVQ = (BrainRVQFeaturizer, BrainRVQClassifier, BrainRVQRegressor)
FEATURIZERS, CLASSIFIERS, REGRESSORS = zip(SPECMOE, BRAINRVQ, strict=True)
PREDICTORS = CLASSIFIERS + REGRESSORS
ESTIMATORS = FEATURIZERS + PREDICTORS

RANDOM = dict.fromkeys(SPECMOE, {"weights": None, "n_experts": 1}) | dict.fromkeys(
    BRAINRVQ, {"weights": None, "depth": 1}
)
"""Parameters that make networks random and small."""

TRAINED = {kind: {"head": "mlp", "parts": ("experts",)} for kind in SPECMOE[1:]} | {
    kind: {"head": "trained", "parts": ("encoder",)} for kind in BRAINRVQ[1:]
}
"""Parameters with which predictors train their head, on the pretrained part alone."""

APART = {SpecMoEFeaturizer: {"channel_pooling": None}, BrainRVQFeaturizer: {"pooling": None}}
"""Parameters with which featurizers keep channels apart."""

ALONE = {
    SpecMoEFeaturizer: {"parts": ("experts",), "readout": ("embedding.mean",), "n_components": None},
    BrainRVQFeaturizer: {"parts": ("encoder",)},
}
"""Parameters with which featurizers hand out what the pretrained part says, and nothing else."""

WIDTHS = {SpecMoEFeaturizer: 256, BrainRVQFeaturizer: 200}
"""Features of one random network alone, channels pooled."""

READOUTS = dict.fromkeys(SPECMOE, SpecMoEReadout) | dict.fromkeys(BRAINRVQ, BrainRVQReadout)
"""What trains while the pretrained part is frozen."""

PRETRAINED = dict.fromkeys(SPECMOE, "experts") | dict.fromkeys(BRAINRVQ, "encoder")
"""Attribute of the network that holds the pretrained part."""

PRETRAINED_PARTS = dict.fromkeys(SPECMOE, "experts") | dict.fromkeys(BRAINRVQ, "encoder")
"""The part that is what the pretrained networks say."""

RATES = dict.fromkeys(SPECMOE, "expert_lr") | dict.fromkeys(BRAINRVQ, "encoder_lr")
"""Parameter with its learning rate."""
