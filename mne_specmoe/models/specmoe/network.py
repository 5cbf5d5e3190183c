"""SpecHi-Net: one expert, an encoder and a decoder of raw EEG.

Source: Darankoum, Habermacher, Volle, Grudinin, "SpecMoE: Spectral Mixture-of-Experts Foundation Model for
Cross-Species EEG Decoding" (arXiv:2603.16739).

Shapes in the comments: B batch, C channels, T samples.
"""

from dataclasses import asdict

import torch
from torch import Tensor, nn

from mne_specmoe.models.specmoe import channelwise, published_layout
from mne_specmoe.models.specmoe.config import EMBED_DIM, Reconstruction, SpecHiNetConfig
from mne_specmoe.models.specmoe.emphasis import emphasise
from mne_specmoe.nn.layers import seeing_masked
from mne_specmoe.signal.canonical import pad

_PUBLISHED_MIN_SAMPLES = 360  # the published kernels need so many, over all channels
_MIN_SAMPLES = 240  # two tokens, so that a batch of one signal can be normalised in training
_LAYOUTS = {"channelwise": channelwise, "published": published_layout}

STAGES = ("down1", "down2", "attention1", "down3", "bottom1", "attention2", "embedding")
"""Names of the encoder's stages, in order of depth."""


class SpecHiNetEncoder(nn.Module):
    """The half of an expert that use for anything but reconstruction needs.

    Parameters
    ----------
    config : SpecHiNetConfig
        The architecture.
    """

    embed_dim = EMBED_DIM

    def __init__(self, config: SpecHiNetConfig):
        super().__init__()
        self.config = config
        for name, module in _LAYOUTS[config.layout].encoder_modules(config).items():
            self.add_module(name, module)

    def forward(self, x: Tensor, positions: Tensor | None = None, *, locations: Tensor | None = None) -> Tensor:
        """Map x [B, C, T] to the embedding [B, 128, tokens]; see `SpecHiNet.encode`."""
        embedding = self.stages(x, positions, locations=locations).embedding
        if self.config.layout == "published":
            return embedding.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2)
        return embedding.permute(0, 3, 1, 2, 4).flatten(2)

    encode = forward

    def activations(
        self, x: Tensor, positions: Tensor | None = None, *, locations: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compute what every stage makes of every channel.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_times)
            200 Hz, units of 100 µV.
        positions, locations : Tensor | None
            As in `SpecHiNet.encode`.

        Returns
        -------
        activations : dict of str to Tensor
            Name of a stage (`STAGES`) → shape (n_batch, n_channels, n_features, n_tokens). In the channelwise layout
            features are those of the branch of small kernels, then those of the branch of large ones, and tokens of
            padding are left out. In the published layout the tokens of both branches follow each other; its first
            attention reads the buffer of ``"down2"`` under another shape, so from there on a channel holds something
            of all.
        """
        return _LAYOUTS[self.config.layout].activations(self.stages(x, positions, locations=locations))

    def pad(self, x: Tensor, positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Zero-pad to what the kernels need: a multiple of 120 samples, and two tokens at least."""
        check_signals(x)
        least = -(-_PUBLISHED_MIN_SAMPLES // x.shape[1]) if self.config.layout == "published" else _MIN_SAMPLES
        return pad(x, positions, min_samples=least)

    def per_channel(self, embedding: Tensor, n_channels: int) -> Tensor:
        """Embedding [B, 128, tokens] → [B, C, 128, tokens / C] (published: its buffer re-read)."""
        if self.config.layout == "published":
            return embedding.reshape(len(embedding), n_channels, EMBED_DIM, -1)
        return embedding.unflatten(-1, (n_channels, -1)).transpose(1, 2)

    def amplitude(self, x: Tensor) -> Tensor | float:
        """What relative amplitudes of x [B, C, T] are relative to, [B, 1, 1]; 1 where they are absolute."""
        return root_mean_square(emphasise(x)) if self.config.amplitude == "relative" else 1.0

    def stages(
        self, x: Tensor, positions: Tensor | None = None, *, locations: Tensor | None = None
    ) -> channelwise.Stages | published_layout.Stages:
        """Every stage for x [B, C, T], padded here, relative amplitudes taken here."""
        check_signals(x)
        n_times = x.shape[-1]
        if self.config.layout == "channelwise":
            x = emphasise(x)
        if self.config.amplitude == "relative":
            x = x / root_mean_square(x)
        x, positions = self.pad(x, positions)
        if self.config.layout == "published":
            return published_layout.encode(self, x, positions)
        return channelwise.encode(self, x, check_locations(locations, x), n_times)


class SpecHiNetDecoder(nn.Module):
    """The half of an expert that rebuilds the signal.

    Parameters
    ----------
    config : SpecHiNetConfig
        The architecture.
    """

    def __init__(self, config: SpecHiNetConfig):
        super().__init__()
        self.config = config
        for name, module in _LAYOUTS[config.layout].decoder_modules(config).items():
            self.add_module(name, module)

    def forward(
        self,
        made: channelwise.Stages | published_layout.Stages,
        x: Tensor,
        *,
        locations: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> Reconstruction:
        """Rebuild the padded x [B, C, T] from what the encoder computed of it."""
        if self.config.layout == "published":
            return published_layout.decode(self, made, x)
        return channelwise.decode(self, made, x, check_locations(locations, x), kept)


class SpecHiNet(nn.Module):
    """One expert: a convolutional network with attention, which rebuilds EEG from EEG.

    Parameters
    ----------
    layout : {"channelwise", "published"}
        See `SpecHiNetConfig`.
    dropout, amplitude, decoder, bypass, told_mask, masked_norms, n_mixtures, edition
        See `SpecHiNetConfig`.

    Notes
    -----
    2,928,104 parameters in the published layout, of which the encoder has 1,359,456. Input is EEG at 200 Hz in units
    of 100 µV (volts × 1e4). Any number of channels and samples works. Source: arXiv:2603.16739.

    Examples
    --------
    >>> import torch
    >>> expert = SpecHiNet("channelwise").eval()
    >>> x = torch.randn(1, 3, 720)
    >>> expert.encode(x).shape
    torch.Size([1, 128, 36])
    """

    embed_dim = EMBED_DIM

    def __init__(
        self,
        layout: str = "channelwise",
        *,
        dropout: float | None = None,
        amplitude: str | None = None,
        decoder: str | None = None,
        bypass: bool = True,
        told_mask: bool = False,
        masked_norms: bool | None = None,
        n_mixtures: int | None = None,
        edition: int = 2,
    ):
        super().__init__()
        self.config = SpecHiNetConfig(
            layout=layout,
            dropout=dropout,
            amplitude=amplitude,
            decoder=decoder,
            bypass=bypass,
            told_mask=told_mask,
            masked_norms=masked_norms,
            n_mixtures=n_mixtures,
            edition=edition,
        )
        self.encoder = SpecHiNetEncoder(self.config)
        self.decoder = SpecHiNetDecoder(self.config)

    def encode(self, x: Tensor, positions: Tensor | None = None, *, locations: Tensor | None = None) -> Tensor:
        """Compute the embedding that downstream tasks use.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_times)
            200 Hz, units of 100 µV; zero-padded on the right to a multiple of 120 samples.
        positions : Tensor, shape (n_batch, n_times) | None
            Published layout: position of every sample. None: linspace(0.1, 1.1, n_times). The channelwise layout
            counts seconds from the start of the segment, in pretraining as in use, and takes no notice of it.
        locations : Tensor, shape (n_channels, 3) | None
            Channelwise layout: where the electrodes are, in metres (head coordinates); NaN where unknown. None: all
            are unknown.

        Returns
        -------
        embedding : Tensor, shape (n_batch, 128, n_tokens)
            Published: n_channels · n_padded / 60 tokens in order (channel, time). Channelwise: those of real samples,
            n_channels · 2 · n_times / 120, in order (channel, branch, time).
        """
        return self.encoder(x, positions, locations=locations)

    def forward(
        self,
        x: Tensor,
        positions: Tensor | None = None,
        *,
        locations: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> Reconstruction:
        """Rebuild the signal of which a mask hides a part.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_times)
            200 Hz, units of 100 µV.
        positions, locations : Tensor | None
            As in `encode`.
        kept : Tensor, shape (n_batch, 1 or n_channels, 201, n_frames) | None
            What the mask kept of every bin, for decoders that are told (``told_mask``). None: all.

        Returns
        -------
        reconstruction : Reconstruction
            `short` and `long` have the shape of `x`.
        """
        check_signals(x)
        n_times = x.shape[-1]
        amplitude = self.encoder.amplitude(x)
        with seeing_masked(self.encoder):
            made = self.encoder.stages(x, positions, locations=locations)
        padded, _ = self.encoder.pad(x / amplitude)
        if kept is None and self.config.told_mask:
            kept = channelwise.all_kept(x)  # of what is real: padding counts for no level
        output = self.decoder(made, padded, locations=locations, kept=kept)
        if self.config.amplitude == "relative":
            output = output.scaled(amplitude)
        return output._replace(short=output.short[..., :n_times], long=output.long[..., :n_times])


def root_mean_square(x: Tensor) -> Tensor:
    """Amplitude of every segment of x [B, C, T]: [B, 1, 1], at least a ten-millionth of a unit (10 pV)."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    # Bounded before the root, whose gradient at 0 is infinite.
    return wide.square().mean((1, 2), keepdim=True).clamp_min(1e-14).sqrt()


def check_signals(x: Tensor) -> None:
    """Raise unless x is [B, C, T], none of them 0."""
    if x.ndim != 3:
        raise ValueError(f"x must be (n_batch, n_channels, n_times), got shape {tuple(x.shape)}.")
    if 0 in x.shape:
        raise ValueError(f"x is empty: shape {tuple(x.shape)}.")


def check_locations(locations: Tensor | None, x: Tensor) -> Tensor:
    """Locations [C, 3] of the channels of x [B, C, T], on its device; all unknown where None."""
    n_channels = x.shape[1]
    if locations is None:
        return x.new_full((n_channels, 3), torch.nan, dtype=torch.float32)
    if tuple(locations.shape) != (n_channels, 3):
        raise ValueError(
            f"locations must be {(n_channels, 3)} (n_channels, 3) as x is {tuple(x.shape)}, got "
            f"{tuple(locations.shape)}."
        )
    return locations.to(x.device)


def untrained_like(expert: SpecHiNet | SpecHiNetEncoder) -> SpecHiNet | SpecHiNetEncoder:
    """Make an untrained network of the same architecture, from torch's global generator.

    Parameters
    ----------
    expert : SpecHiNet | SpecHiNetEncoder
        The network to copy, but for its weights.

    Returns
    -------
    untrained : SpecHiNet | SpecHiNetEncoder
        In evaluation mode; normalisations have the statistics of noise, see `settle_normalisation`.
    """
    is_encoder = isinstance(expert, SpecHiNetEncoder)
    untrained = SpecHiNetEncoder(expert.config) if is_encoder else SpecHiNet(**asdict(expert.config))
    settle_normalisation(untrained if is_encoder else untrained.encoder)
    return untrained.eval()


@torch.no_grad()
def settle_normalisation(encoder: SpecHiNetEncoder) -> None:
    """Give the batch normalisations of an untrained encoder the statistics of EEG-like noise.

    An untrained network in evaluation mode has running statistics 0 and 1, under which the signal fades to nothing
    within a few layers. One pass over seeded 1/f noise at the amplitude of EEG gives it statistics that keep the
    signal alive, and that depend on no recording.
    """
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.fft.rfft(torch.randn(8, 2, 960, generator=generator))
    frequencies = torch.arange(spectrum.shape[-1]).clamp_min(1)
    noise = torch.fft.irfft(spectrum / frequencies.sqrt(), n=960)
    noise = 0.2 * noise / noise.std(-1, keepdim=True)  # 20 µV
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    was_training = encoder.training
    encoder.train()
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    encoder(noise)
    with seeing_masked(encoder):
        encoder(noise)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    encoder.train(was_training)
