"""Pretraining of an expert: rebuild the clean signal from the masked one, and say what is true of the clean one.

Source: arXiv:2603.16739, the pretraining of SpecMoE. Unlike the published training loop, which compares with the
masked signal, this one compares with the clean one, as the paper says.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mne_specmoe._validation import check_number
from mne_specmoe.models.interface import Batch
from mne_specmoe.models.specmoe.config import Reconstruction
from mne_specmoe.models.specmoe.envelope import log_envelope
from mne_specmoe.models.specmoe.masking import HOP, GaussianStftMask
from mne_specmoe.models.specmoe.masking import N_FFT as MASK_FRAME
from mne_specmoe.models.specmoe.network import SpecHiNet, root_mean_square
from mne_specmoe.models.specmoe.targets import FeatureLoss
from mne_specmoe.signal.spectral import stft

N_FFT = 512
"""Samples of a frame of the spectral term; frames overlap by half."""

N_COMPARED = 120
"""Frequencies of log envelopes that count, 0.5 Hz apart: beyond 60 Hz recordings hold little but noise."""

_LEAST_CLEAN = 400  # samples, a window of the targets' spectra

N_PUBLISHED_CHANNELS = 19
"""Outputs of the published layout's auxiliary heads, which stand for the channels."""


class ReconstructionObjective(nn.Module):
    """Loss of an expert that sees masked segments, against the clean ones.

    Where the network works with relative amplitudes, so does the loss: every segment and what was rebuilt of it are
    divided by the root mean square of the clean segment, so that a quiet recording counts as much as a loud one.

    With a `feature_loss`, every step encodes two views of each segment: the masked one, which is rebuilt, and the
    clean one, of whose embedding the feature loss asks what is true of the segment. A network with ``masked_norms``
    keeps statistics of batch normalisation for each, so that in use, where nothing is masked, it meets what it was
    trained on.

    Parameters
    ----------
    network : SpecHiNet
        The expert that is trained. The published layout needs segments of 19 channels; the channelwise one takes any
        number.
    mask : GaussianStftMask | None
        What is hidden; None takes the paper's mask.
    spectral_weight : float
        Weight of the spectral term against the mean squared error.
    aux_weights : tuple of float
        Weights of the auxiliary heads after Up1 and after Up2, in this order.
    envelope_weight : float
        Weight of the mean squared error of log envelopes, with decoders of envelopes.
    masked_weight : float
        How much more the error of log envelopes counts in bins of which the mask left nothing than in bins of which it
        left all: 1 + `masked_weight` times as much.
    feature_loss : FeatureLoss | None
        What the embedding of the clean segment has to say. None: nothing, as in the paper. Channelwise layout only.
    clean_share : float
        Share of every segment's time, from its start, whose clean view is encoded; in (0, 1]. At least 2 s of what is
        there are taken.

    Attributes
    ----------
    network : SpecHiNet
        The expert.

    Raises
    ------
    ValueError, TypeError
        If a weight is negative, or no number, if the published layout is given a feature loss, or if a network with
        ``masked_norms`` is given none.

    See Also
    --------
    reconstruction_loss : the equation.

    Examples
    --------
    >>> import torch
    >>> from mne_specmoe.models.interface import Batch
    >>> objective = ReconstructionObjective(SpecHiNet("channelwise", decoder="signal", masked_norms=False))
    >>> x, locations = torch.randn(2, 3, 1200), torch.full((3, 3), torch.nan)
    >>> positions = torch.linspace(1, 10, 1200).expand(2, -1)
    >>> batch = Batch(x, positions, torch.tensor([1, 2]), ("C3", "Cz", "C4"), locations)
    >>> loss, terms = objective(batch, progress=0.0)
    >>> sorted(terms)
    ['aux_up1', 'aux_up2', 'masked_mse', 'mse', 'spectral']
    """

    def __init__(
        self,
        network: SpecHiNet,
        *,
        mask: GaussianStftMask | None = None,
        spectral_weight: float = 0.02,
        aux_weights: tuple[float, float] = (0.2, 0.3),
        envelope_weight: float = 1.0,
        masked_weight: float = 0.0,
        feature_loss: FeatureLoss | None = None,
        clean_share: float = 1.0,
    ):
        super().__init__()
        _check_weights(spectral_weight, aux_weights)
        check_number("envelope_weight", envelope_weight, minimum=0.0)
        check_number("masked_weight", masked_weight, minimum=0.0)
        check_number("clean_share", clean_share, minimum=0.0, maximum=1.0, strict=True)
        if feature_loss is not None and network.config.layout == "published":
            raise ValueError("A feature loss needs layout='channelwise'; the published layout is trained as published.")
        if feature_loss is None and network.config.masked_norms:
            raise ValueError(
                "A network with masked_norms=True learns what clean segments are like from the clean view alone, which "
                "is read by a feature loss only; give a feature_loss, or a network with masked_norms=False."
            )
        self.network = network
        self.mask = GaussianStftMask() if mask is None else mask
        self.spectral_weight = spectral_weight
        self.aux_weights = tuple(aux_weights)
        self.envelope_weight, self.masked_weight = envelope_weight, masked_weight
        self.feature_loss = feature_loss
        self.clean_share = clean_share

    def forward(self, batch: Batch, *, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Mask, rebuild, compare; read from the clean view, compare.

        Parameters
        ----------
        batch : Batch
            Clean segments of any length. Masks come from ``batch.seeds``.
        progress : float
            Not used: the mask is the same all along.

        Returns
        -------
        loss : Tensor
            A float32 scalar.
        terms : dict of str to Tensor
            Those of :func:`reconstruction_loss`, with a feature loss ``"spectrum"`` and ``"pairs"``, with a decoder of
            envelopes ``"envelope"``, all of them weighed; and ``"masked_mse"``: the mean squared error of the masked
            signal itself, which an expert has learnt something if it beats. Compare it with half of ``"mse"``, a sum
            over two reconstructions. Without gradients.

        Raises
        ------
        ValueError
            If the network is of the published layout, and the segments do not have 19 channels.
        """
        self._check_channels(batch.x.shape[1])
        masked, kept = self.mask(batch.x, batch.seeds, locations=batch.locations)
        output = self.network(masked, batch.positions, locations=batch.locations, kept=kept)
        clean = batch.x
        if self.network.config.amplitude == "relative":
            amplitude = root_mean_square(clean)
            output, clean, masked = output.scaled(1 / amplitude), clean / amplitude, masked / amplitude
        padded, _ = self.network.encoder.pad(clean)  # what the auxiliary heads stand for
        loss, terms = reconstruction_loss(
            output, clean, padded=padded, spectral_weight=self.spectral_weight, aux_weights=self.aux_weights
        )
        others = {}
        if output.envelope is not None:
            others["envelope"] = self.envelope_weight * envelope_error(
                output.envelope, padded, kept, self.masked_weight
            )
        if self.feature_loss is not None:
            others |= self._read(batch)
        loss = sum(others.values(), loss)
        terms |= {name: term.detach() for name, term in others.items()}
        return loss, terms | {"masked_mse": F.mse_loss(masked.float(), clean.float()).detach()}

    @torch.no_grad()
    def learn(self, signals: Iterable[Tensor]) -> None:
        """Take the statistics that training begins with from clean signals, each (n_segments, n_channels, n_times).

        Those of the targets of the feature loss, and the mean log envelope, with which decoders of envelopes begin.
        """
        signals = list(signals)
        if self.feature_loss is not None:
            self.feature_loss.learn(map(self._clean, signals))
        if self.network.config.decoder == "envelope":
            levels = [x / self.network.encoder.amplitude(x) for x in signals]
            envelopes = [log_envelope(stft(x, n_fft=MASK_FRAME, hop=HOP)).mean((0, 1, 3)) for x in levels]
            for decoder in (self.network.decoder.envelope_short, self.network.decoder.envelope_long):
                decoder.begin_with(torch.stack(envelopes).mean(0))

    def _read(self, batch: Batch) -> dict[str, Tensor]:
        """Terms of the feature loss, from the clean view."""
        x = self._clean(batch.x)
        made = self.network.encoder.stages(x, locations=batch.locations)
        return self.feature_loss(made.embedding, x)

    def _clean(self, x: Tensor) -> Tensor:
        """What is encoded clean of segments: a share of their time."""
        n_times = x.shape[-1]
        return x[..., : max(math.ceil(self.clean_share * n_times), min(n_times, _LEAST_CLEAN))]

    def _check_channels(self, n_channels: int) -> None:
        """Raise where the auxiliary heads have no output for the channels."""
        if self.network.config.layout == "published" and n_channels != N_PUBLISHED_CHANNELS:
            raise ValueError(
                f"The published layout is trained on segments of {N_PUBLISHED_CHANNELS} channels, for which its "
                f"auxiliary heads have outputs, got {n_channels}; use layout='channelwise', which takes any number."
            )


def reconstruction_loss(
    output: Reconstruction,
    target: Tensor,
    *,
    padded: Tensor | None = None,
    spectral_weight: float = 0.02,
    aux_weights: tuple[float, float] = (0.2, 0.3),
) -> tuple[Tensor, dict[str, Tensor]]:
    """Distance of a reconstruction from the clean signal.

    With weight :math:`\\lambda` of the spectral term and the distance of two signals

    .. math:: d(x, y) = \\overline{(x - y)^2} + \\lambda \\overline{(|S x| - |S y|)^2}

    the loss is :math:`d(short, y) + d(long, y) + 0.2\\, d(aux_{up1}, y_1) + 0.3\\, d(aux_{up2}, y_2)`. Means run over
    segments, channels and samples (or bins of the transform S); :math:`y_1, y_2` is the target linearly interpolated
    along time to the head's length. S is `torch.stft` with a periodic Hann window of 512 samples, 256 apart, centred
    with reflection at the edges. For signals of 256 samples or fewer, which have nothing to reflect there, the window
    has as many samples as the largest power of two of which half is shorter than the signal. (The paper's signals are
    longer; in the channelwise layout the auxiliary signals of a segment of 30 s have 200 and 800 samples.)

    Parameters
    ----------
    output : Reconstruction
        Output of an expert, of any floating type.
    target : Tensor, shape (n_batch, n_channels, n_times)
        The clean signal.
    padded : Tensor, shape (n_batch, n_channels, n_padded) | None
        The clean signal as padded by the network, which the auxiliary heads stand for; None: `target`.
    spectral_weight : float
        Weight of the spectral term against the mean squared error.
    aux_weights : tuple of float
        Weights of `aux_up1` and of `aux_up2`.

    Returns
    -------
    loss : Tensor
        A float32 scalar (float64 if the output is), under autocast too.
    terms : dict of str to Tensor
        What the loss is the sum of, weights included: ``"mse"`` and ``"spectral"``, each of both reconstructions, and
        ``"aux_up1"`` and ``"aux_up2"`` where there are auxiliary heads. Without gradients.
    """
    padded = target if padded is None else padded
    with torch.autocast(target.device.type, enabled=False):
        errors, spectral = zip(*(_distances(signal, target) for signal in (output.short, output.long)), strict=True)
        terms = {"mse": sum(errors), "spectral": spectral_weight * sum(spectral)}
        for name, weight in zip(("aux_up1", "aux_up2"), aux_weights, strict=True):
            if getattr(output, name) is None:
                continue
            error, spectral_error = _auxiliary_distances(getattr(output, name), padded)
            terms[name] = weight * (error + spectral_weight * spectral_error)
        loss = sum(terms.values())
    return loss, {name: term.detach() for name, term in terms.items()}


def envelope_error(envelope: Tensor, clean: Tensor, kept: Tensor, masked_weight: float = 0.0) -> Tensor:
    """Mean squared error of log envelopes from those of the clean signal, up to 60 Hz.

    Parameters
    ----------
    envelope : Tensor, shape (n_batch, n_channels, 2, n_freqs, n_frames)
        What both branches of a decoder say.
    clean : Tensor, shape (n_batch, n_channels, n_times)
        The clean signal, padded.
    kept : Tensor, shape (n_batch, 1 or n_channels, n_freqs, n_frames)
        What the mask kept; frames beyond its end, of padding, do not count.
    masked_weight : float
        A bin of which a share k was kept counts 1 + `masked_weight` · (1 − k).

    Returns
    -------
    error : Tensor
        A scalar, the mean over segments.
    """
    with torch.autocast(clean.device.type, enabled=False):
        target = log_envelope(stft(_wide(clean), n_fft=MASK_FRAME, hop=HOP))[..., : kept.shape[-1]]
        weights = 1 + masked_weight * (1 - kept[..., :N_COMPARED, :])
        difference = _wide(envelope)[..., : kept.shape[-1]] - target[:, :, None]
        errors = difference[..., :N_COMPARED, :].square() * weights[:, :, None]
        # Segment by segment, so that a batch is the mean of its segments, however it is spread over processes.
        return (errors.mean((1, 2, 3, 4)) / weights.mean((1, 2, 3))).mean()


def _auxiliary_distances(signal: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Distances from the target at the length of the signal."""
    if signal.shape[:2] != target.shape[:2]:
        raise ValueError(
            f"Auxiliary signals and target must have the same segments and channels, got {tuple(signal.shape)} and "
            f"{tuple(target.shape)}."
        )
    return _distances(signal, F.interpolate(_wide(target), signal.shape[-1], mode="linear", align_corners=False))


def _distances(signal: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error of the signal, and of the magnitudes of its spectrum."""
    signal, target = _wide(signal), _wide(target)
    return F.mse_loss(signal, target), F.mse_loss(_magnitudes(signal), _magnitudes(target))


def _wide(x: Tensor) -> Tensor:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _magnitudes(x: Tensor) -> Tensor:
    """Magnitudes of the centred transform: (n_batch, n_channels, n_times) → (n_series, n_freqs, n_frames)."""
    n_fft = _fitting_n_fft(x.shape[-1])
    window = torch.hann_window(n_fft, dtype=x.dtype, device=x.device)
    spectrum = torch.stft(x.flatten(0, 1), n_fft, max(1, n_fft // 2), window=window, return_complex=True)
    return spectrum.abs()


def _fitting_n_fft(n_times: int) -> int:
    """512, or the largest power of two of which half is shorter than the signal."""
    n_fft = N_FFT
    while n_fft // 2 >= n_times:
        n_fft //= 2
    return n_fft


def _check_weights(spectral_weight: float, aux_weights: tuple[float, float]) -> None:
    """Raise unless the weights are numbers, and none is negative."""
    check_number("spectral_weight", spectral_weight, minimum=0.0)
    if len(aux_weights) != 2:
        raise ValueError(f"aux_weights must be two numbers, of the heads after Up1 and Up2, got {aux_weights!r}.")
    for i, weight in enumerate(aux_weights):
        check_number(f"aux_weights[{i}]", weight, minimum=0.0)
