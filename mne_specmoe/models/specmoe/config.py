"""What defines the architecture of an expert, and what an expert puts out."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from mne_specmoe._validation import check_number, check_option

LAYOUTS = ("channelwise", "published")
AMPLITUDES = ("relative", "absolute")
DECODERS = ("envelope", "gains", "signal")
EMBED_DIM = 128
N_HEADS = 8
EDITION = 2
"""Of the channelwise layout. Files of another edition hold other networks, and are refused."""


@dataclass(frozen=True)
class SpecHiNetConfig:
    """Everything that defines the architecture of an expert.

    Parameters
    ----------
    layout : {"channelwise", "published"}
        ``"published"`` is the arithmetic that the published checkpoints were trained with, oddities included;
        ``"channelwise"`` convolves each channel on its own, attends over the times of a channel and then over the
        channels of a time, and knows where the electrodes are.
    dropout : float | None
        Dropout probability, in [0, 1). None: 0.2 in the published layout, 0 in the other.
    amplitude : {"relative", "absolute"} | None
        Whether the network sees the signals as they are, or divided by their root mean square over all channels and
        samples of a segment; what it rebuilds is multiplied by that again. None: ``"relative"`` in the channelwise
        layout; the published one has ``"absolute"`` only.
    decoder : {"envelope", "gains", "signal"} | None
        What the decoder puts out. ``"signal"``: the rebuilt signal, as published. The others are for the channelwise
        layout only: ``"envelope"`` gives the spectrogram of what the network sees the envelope that it reads off its
        stages (`EnvelopeDecoder`); ``"gains"`` adds what is missing, a signal and the spectrogram of what it sees
        times gains (`SpectralGains`). None: ``"envelope"`` in the channelwise layout. Encoders are the same.
    bypass : bool
        Whether decoders see the encoder's early stages, as in the paper, or the embedding alone.
    told_mask : bool
        Whether the decoder is told what the mask kept (channelwise layout only).
    masked_norms : bool | None
        Whether the encoder has batch normalisations of their own for masked signals. None: in the channelwise layout,
        and only there.
    n_mixtures : int | None
        How many means over channels, weighed by where the electrodes are, the first convolutions see of every channel
        beside the channel itself. None: 2 in the channelwise layout; the published one has none.
    edition : int
        Of the channelwise layout: 2. Files of the first edition are refused.

    Raises
    ------
    ValueError, TypeError
        If a parameter is not as above.
    """

    layout: str = "channelwise"
    dropout: float | None = None
    amplitude: str | None = None
    decoder: str | None = None
    bypass: bool = True
    told_mask: bool = False
    masked_norms: bool | None = None
    n_mixtures: int | None = None
    edition: int = EDITION

    def __post_init__(self):
        check_option("layout", self.layout, LAYOUTS)
        for name, value in _DEFAULTS[self.layout].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        check_number("dropout", self.dropout, minimum=0.0, maximum=0.999)
        check_option("amplitude", self.amplitude, AMPLITUDES)
        check_option("decoder", self.decoder, DECODERS)
        for name in ("bypass", "told_mask", "masked_norms"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}.")
        check_number("n_mixtures", self.n_mixtures, minimum=0, integer=True)
        if self.edition != EDITION:
            raise ValueError(f"edition must be {EDITION}, got {self.edition!r}: networks of others cannot be built.")
        if self.layout == "published" and (wrong := self._unlike_published()):
            raise ValueError(f"layout='published' has the published arithmetic: it needs {wrong}.")

    def _unlike_published(self) -> str:
        """What would have to be otherwise in the published layout."""
        needed = {name: value for name, value in _DEFAULTS["published"].items() if name != "dropout"}
        needed |= {"bypass": True, "told_mask": False}
        return " and ".join(f"{name}={value!r}" for name, value in needed.items() if getattr(self, name) != value)


_DEFAULTS = {
    "published": {
        "dropout": 0.2,
        "amplitude": "absolute",
        "decoder": "signal",
        "masked_norms": False,
        "n_mixtures": 0,
    },
    "channelwise": {
        "dropout": 0.0,
        "amplitude": "relative",
        "decoder": "envelope",
        "masked_norms": True,
        "n_mixtures": 2,
    },
}


class Reconstruction(NamedTuple):
    """Output of an expert.

    Attributes
    ----------
    short, long : Tensor, shape (n_batch, n_channels, n_times)
        The signal as rebuilt from the branch of small and of large kernels.
    aux_up1, aux_up2 : Tensor | None
        Coarse reconstructions of the padded signal. Published: of length T/30 and 2T/15 per channel, shape
        (n_batch, 19, n_channels · length). Channelwise: of length T/60 and T/15, shape (n_batch, n_channels, length);
        None where the decoder is of envelopes.
    envelope : Tensor | None
        Where the decoder is of envelopes: log amplitude of the spectrogram of the padded signal, both branches, shape
        (n_batch, n_channels, 2, n_freqs, n_frames).
    """

    short: Tensor
    long: Tensor
    aux_up1: Tensor | None
    aux_up2: Tensor | None
    envelope: Tensor | None = None

    def scaled(self, gain: Tensor) -> "Reconstruction":
        """The same of signals that are `gain` (n_batch, 1, 1) times as large."""
        names = [name for name in ("short", "long", "aux_up1", "aux_up2") if getattr(self, name) is not None]
        signals = {name: getattr(self, name) * gain for name in names}
        envelope = None if self.envelope is None else self.envelope + gain[..., None, None].log()
        return self._replace(**signals, envelope=envelope)
