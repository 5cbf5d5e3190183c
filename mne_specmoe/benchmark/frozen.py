"""Our estimators with a validation part that is given, and with what frozen networks say already known."""

import numpy as np
import torch
from skorch.callbacks import Callback

from mne_specmoe.estimators.brainrvq import BrainRVQClassifier, BrainRVQRegressor
from mne_specmoe.estimators.specmoe import SpecMoEClassifier, SpecMoERegressor


class _Known:
    """What is changed: nothing of what is computed, but where it comes from.

    Attributes
    ----------
    halves : tuple of ndarray
        Places of the windows to train on and to validate on, in the X of fit.
    known : tuple of Tensor | None
        What the frozen network measures of the X that is about to be used. None: it has to run.
    """

    halves: tuple[np.ndarray, np.ndarray]
    known: tuple[torch.Tensor, ...] | None = None

    def _inner_split(self, n_epochs, labels, groups, seed):
        return self.halves

    def _measured(self, network, epochs):
        if self.known is None:
            return super()._measured(network, epochs)
        return dict(zip(network.measured_names, self.known, strict=True))


class SpecMoEHead(_Known, SpecMoEClassifier):
    """`SpecMoEClassifier`, see `_Known`."""


class SpecMoENumber(_Known, SpecMoERegressor):
    """`SpecMoERegressor`, see `_Known`."""


class BrainRVQHead(_Known, BrainRVQClassifier):
    """`BrainRVQClassifier`, see `_Known`."""


class BrainRVQNumber(_Known, BrainRVQRegressor):
    """`BrainRVQRegressor`, see `_Known`."""


class DrawChannels(Callback):
    """Lets every step of fine-tuning see some of the channels, drawn anew.

    A step on 4 of 19 channels costs a fifth of one on all. The experts are told where the drawn ones are, the gate
    reads their spectra, and pooling is over them.

    Parameters
    ----------
    n_channels : int
        How many.
    seed : int
        Of the draws.
    """

    def __init__(self, n_channels: int, seed: int):
        self.n_channels = n_channels
        self._rng = np.random.default_rng((seed, 2))
        self._locations = None  # of all channels, while a step sees some

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        """Take the drawn channels of a batch of signals; batches of pooled features stay as they are."""
        inputs, _ = batch
        if training and "x" in inputs and inputs["x"].shape[1] > self.n_channels:
            drawn = np.sort(self._rng.choice(inputs["x"].shape[1], self.n_channels, replace=False))
            inputs["x"] = inputs["x"][:, drawn]
            network = net.module_.module
            if network.locations is not None:
                self._locations, network.locations = network.locations, network.locations[drawn]

    def on_batch_end(self, net, **kwargs):
        """Put the locations of all channels back."""
        if self._locations is not None:
            net.module_.module.locations, self._locations = self._locations, None
