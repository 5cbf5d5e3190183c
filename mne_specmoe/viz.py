"""Figures of masks, reconstructions, gates and health checks, fit for a paper.

Fonts are sized for figures that are printed as wide as they are drawn: by default 7 inches, the width of a page of two
columns. In figures narrower than 5 inches, for one column, panels are put below one another.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from textwrap import wrap

import matplotlib.pyplot as plt
import mne
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann
from sklearn.utils.validation import check_is_fitted

from mne_specmoe._validation import check_number, check_option, listed
from mne_specmoe.data.recordings import open_epochs
from mne_specmoe.diagnosis.findings import Diagnosis, NetworkFindings, StageFindings, mean_over
from mne_specmoe.models.specmoe.masking import BANDS
from mne_specmoe.reconstruction import (
    ReconstructedEpochs,
    band_errors,
    channel_locations,
    epoch_seeds,
    measurement_info,
)
from mne_specmoe.signal.canonical import SFREQ, UNIT_VOLTS, to_network
from mne_specmoe.signal.spectral import istft, n_frames, stft

# Okabe and Ito's colours, which all kinds of colour vision tell apart.
ORIGINAL, MASKED, REBUILT = "black", "#E69F00", "#0072B2"
_STYLE = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "figure.titlesize": 8,
    "legend.fontsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
_LINES = (REBUILT, MASKED, "#009E73", "#CC79A7")
_PAGE_WIDTH, _WIDE = 7.0, 5.0  # inches
_EXAMPLE_SAMPLES = 6000  # a pretraining segment of 30 s
_PERCENTILES, _MOST_DECIBELS = (5, 99.9), 50.0  # of the original's spectrogram, what the colours span
_FEWEST_FOR_TOPOGRAPHY = 4
STATISTICS = {"mean": lambda slopes: slopes.mean(1), "absolute": lambda slopes: slopes.abs().mean(1)}
"""How the sensitivities (n_experts, n_features, n_freqs) of an expert's gates become one."""


def _styled(plot: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in our style without touching the caller's settings, and show the figure only where told to."""

    @wraps(plot)
    def styled(*args, **kwargs) -> Figure:
        with plt.rc_context(_STYLE):
            figure = plot(*args, **kwargs)
        if kwargs.get("show"):
            plt.show()
        return figure

    return styled


@_styled
def plot_mask(
    mask: Callable | np.ndarray | torch.Tensor,
    epochs: object | None = None,
    *,
    epoch: int = 0,
    pick: int | str = 0,
    sfreq: float | None = None,
    unit: str = "V",
    ch_names: Sequence[str] | None = None,
    random_state: int | np.random.RandomState | np.random.Generator | None = 0,
    tmin: float = 0.0,
    duration: float = 4.0,
    f_max: float = 100.0,
    axes: Axes | Sequence[Axes] | None = None,
    figsize: tuple[float, float] | None = None,
    show: bool | None = None,
) -> Figure:
    """Show what a mask keeps of the spectrogram, and what it does to a signal.

    Parameters
    ----------
    mask : GaussianStftMask | callable | array
        A mask, which is drawn as :func:`mne_specmoe.reconstruct` draws it; or a map (1 keeps all, 0 nothing) over a
        spectrogram whose frames overlap by half, of shape (n_freqs, n_frames) or, as ``result.mask_map``,
        (n_epochs, 1 or n_channels, n_freqs, n_frames).
    epochs : mne.Epochs | list of mne.Epochs | array-like | None
        Epochs to mask, as for :func:`mne_specmoe.reconstruct`. None: the map alone, of 30 s.
    epoch : int
        Which epoch.
    pick : int | str
        Which channel, by place or by name.
    sfreq, unit, ch_names
        Of arrays, as for :func:`mne_specmoe.reconstruct`.
    random_state : int | RandomState | Generator | None
        Seed of the mask; the same as in :func:`mne_specmoe.reconstruct` gives the same map.
    tmin, duration : float
        The part of the signal to show, in seconds.
    f_max : float
        The highest frequency to show, in Hz.
    axes : Axes | sequence of Axes | None
        Where to draw: 1 without epochs (map), else 4 (map, signals, spectrogram before, spectrogram after). None: a
        new figure.
    figsize : (float, float) | None
        Size of the new figure in inches.
    show : bool | None
        True calls ``plt.show()``; None and False leave that to you.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If epoch, channel, map or axes do not fit.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from mne_specmoe import make_epochs, plot_mask
    >>> from mne_specmoe.models.specmoe.masking import GaussianStftMask
    >>> epochs, y, groups = make_epochs(n_epochs=4)
    >>> figure = plot_mask(GaussianStftMask(), epochs, pick="C3")
    >>> plt.close(figure)
    """
    _check_view(tmin, duration, f_max)
    if epochs is None:
        figure, (panel,) = _panels([["map"]], axes, figsize or (_PAGE_WIDTH / 2, 2.2))
        _draw_map(panel, _example_map(mask, epoch, random_state), None, f_max)
        return figure
    before, after, kept, name = _masked_epoch(mask, epochs, epoch, pick, sfreq, unit, ch_names, random_state)
    groups = [["map"], ["signals"], ["before", "after"]]
    figure, panels = _panels(groups, axes, figsize or (_PAGE_WIDTH, 4.2))
    _draw_map(panels[0], kept, len(before) / SFREQ, f_max)
    signals = {"original": (before, ORIGINAL), "masked": (after, MASKED)}
    _draw_signals(panels[1], {label: (x[None], c) for label, (x, c) in signals.items()}, [name], tmin, duration)
    _draw_spectrograms(panels[2:], {label: x for label, (x, _) in signals.items()}, name, f_max)
    return figure


@_styled
def plot_reconstruction(
    result: ReconstructedEpochs,
    epoch: int = 0,
    picks: int | str | Sequence[int | str] | None = None,
    *,
    bands: Mapping[str, tuple[float, float]] = BANDS,
    tmin: float = 0.0,
    duration: float = 4.0,
    f_max: float = 40.0,
    axes: Sequence[Axes] | None = None,
    figsize: tuple[float, float] | None = None,
    show: bool | None = None,
) -> Figure:
    """Show what an expert made of masked EEG.

    Signals of some channels; the error in every band, masked against rebuilt, over **all** epochs and channels of the
    result (see :func:`mne_specmoe.reconstruction.band_errors`); spectrograms of the first channel picked.

    Parameters
    ----------
    result : ReconstructedEpochs
        From :func:`mne_specmoe.reconstruct`. ``result[3]`` shows the errors of that epoch alone.
    epoch : int
        The epoch whose signals and spectrograms are shown.
    picks : int | str | sequence of them | None
        Channels by place or by name. None: three, spread evenly.
    bands : mapping of str to (float, float)
        Bands with their edges in Hz.
    tmin, duration : float
        The part of the signals to show, in seconds.
    f_max : float
        The highest frequency of the spectrograms, in Hz.
    axes : sequence of 5 Axes | None
        Where to draw: signals, errors, spectrograms of the original, masked and rebuilt signal. None: a new figure.
    figsize : (float, float) | None
        Size of the new figure in inches.
    show : bool | None
        True calls ``plt.show()``; None and False leave that to you.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If ``result`` does not come from :func:`mne_specmoe.reconstruct`.
    ValueError
        If epoch, channels, bands or axes do not fit.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from mne_specmoe import SpecHiNet, make_epochs, plot_reconstruction, reconstruct
    >>> epochs, y, groups = make_epochs(n_epochs=4, n_channels=3)
    >>> result = reconstruct(epochs, SpecHiNet("channelwise"), device="cpu")
    >>> figure = plot_reconstruction(result, picks=["C3", "C4"])
    >>> plt.close(figure)
    """
    if not isinstance(result, ReconstructedEpochs):
        raise TypeError(f"result must come from mne_specmoe.reconstruct, got {type(result).__name__}.")
    _check_view(tmin, duration, f_max)
    _check_epoch(epoch, len(result))
    places, names = _find_channels(picks, result.original.shape[1], result.ch_names)
    groups = [["signals"], ["errors"], ["original", "masked", "rebuilt"]]
    figure, panels = _panels(groups, axes, figsize or (_PAGE_WIDTH, 4.6), lead=2.4)
    kinds = {
        "original": (result.original, ORIGINAL),
        "masked": (result.masked, MASKED),
        "rebuilt": (result.reconstruction, REBUILT),
    }
    shown = {kind: (volts[epoch, places], colour) for kind, (volts, colour) in kinds.items()}
    _draw_signals(panels[0], shown, names, tmin, duration)
    _draw_errors(panels[1], result, bands)
    _draw_spectrograms(panels[2:], {kind: volts[0] for kind, (volts, _) in shown.items()}, names[0], f_max)
    return figure


@_styled
def plot_gate(
    gate: object,
    epochs: object | None = None,
    *,
    statistic: str = "mean",
    f_max: float = 40.0,
    axes: Axes | Sequence[Axes] | None = None,
    figsize: tuple[float, float] | None = None,
    show: bool | None = None,
) -> Figure:
    """Show which frequencies open a SpecMoE's gates, and over which channels they are open.

    The gate of expert :math:`e` and feature :math:`k` is a function :math:`g_{ek}` of a channel's power spectrum. Its
    sensitivity to frequency :math:`f` is

    .. math:: s_{ekf} = \\partial g_{ek} / \\partial z_f, \\quad z_f = (\\log_{10} P_f - \\mu_f) / \\sigma_f

    at the mean log spectrum of the training epochs (:math:`z = 0`), with the mean :math:`\\mu` and the standard
    deviation :math:`\\sigma` over these epochs and their channels: how much the gate opens when the power at
    :math:`f` rises by one standard deviation. That holds for ``gate_scale="log"`` and ``"power"`` alike.

    Parameters
    ----------
    gate : SpecMoEClassifier | SpecMoERegressor | array
        A fitted estimator; or gates as its ``gate_weights`` returns them, of shape (n_epochs, n_channels, n_experts)
        or (n_channels, n_experts), for which only the channels are shown.
    epochs : mne.Epochs | list of mne.Epochs | array-like | None
        Epochs whose gates are shown over the channels: on the head where Epochs tell all positions, otherwise one by
        one, with the standard deviation over epochs. With an array of gates: Epochs that tell names and positions.
    statistic : {"mean", "absolute"}
        The mean of :math:`s_{ekf}` over the expert's features, which is the sensitivity of what ``gate_weights``
        returns; or the mean of :math:`|s_{ekf}|`, in which features that open and others that close do not cancel.
    f_max : float
        The highest frequency to show, in Hz.
    axes : Axes | sequence of Axes | None
        Where to draw: one for the sensitivities (unless ``gate`` is an array), then one per expert (if channels are
        shown). None: a new figure.
    figsize : (float, float) | None
        Size of the new figure in inches.
    show : bool | None
        True calls ``plt.show()``; None and False leave that to you.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If ``gate`` is neither an estimator with gates nor an array.
    NotFittedError
        If the estimator is not fitted.
    ValueError
        If the estimator has no gate (``gate_scale="none"``), or if shapes do not fit.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mne_specmoe import make_epochs, plot_gate
    >>> epochs, y, groups = make_epochs(n_epochs=4)
    >>> figure = plot_gate(np.random.default_rng(0).uniform(size=(4, 19, 3)), epochs)
    >>> plt.close(figure)
    """
    check_option("statistic", statistic, tuple(STATISTICS))
    _check_view(0.0, 1.0, f_max)
    is_estimator = hasattr(gate, "gate_weights")
    weights = _gate_weights(gate, epochs) if epochs is not None or not is_estimator else None
    names, info = (), None
    if weights is not None:
        names, info = _gate_channels(getattr(gate, "ch_names_", None), epochs, weights.shape[1])
    n_experts = 0 if weights is None else weights.shape[2]
    figure, panels = _gate_panels(is_estimator, n_experts, 0 if info else len(names), axes, figsize)
    if is_estimator:
        _draw_sensitivity(panels.pop(0), gate, statistic, f_max)
    if info is not None:
        _draw_topographies(panels, weights.mean(0), info)
    elif weights is not None:
        _draw_channels(panels, weights, names)
    return figure


def _check_view(tmin: float, duration: float, f_max: float) -> None:
    """Raise unless the part to show makes sense by itself."""
    check_number("tmin", tmin, minimum=0)
    check_number("duration", duration, minimum=0, strict=True)
    check_number("f_max", f_max, minimum=0, maximum=SFREQ / 2, strict=True)


def _check_epoch(epoch: int, n_epochs: int) -> None:
    """Raise unless there is such an epoch."""
    check_number("epoch", epoch, minimum=0, integer=True)
    if epoch >= n_epochs:
        raise ValueError(f"epoch={epoch}, but there are {n_epochs} epochs, counted from 0.")


def _find_channels(
    picks: int | str | Sequence[int | str] | None, n_channels: int, ch_names: Sequence[str] | None
) -> tuple[list[int], list[str]]:
    """Places and names of the channels picked; three of them, spread evenly, where none are."""
    if picks is None:
        picks = np.unique(np.linspace(0, n_channels - 1, 3).astype(int)).tolist()
    elif isinstance(picks, int | np.integer | str):
        picks = [picks]
    places = [_find_channel(pick, n_channels, ch_names) for pick in picks]
    if not places:
        raise ValueError("picks is empty; give at least one channel, or None for three of them.")
    return places, [f"channel {place}" if ch_names is None else ch_names[place] for place in places]


def _find_channel(pick: int | str, n_channels: int, ch_names: Sequence[str] | None) -> int:
    """Place of a channel."""
    if isinstance(pick, str):
        if pick not in (ch_names or ()):
            raise ValueError(f"There is no channel {pick!r}; the channels are {listed(ch_names or ())}.")
        return ch_names.index(pick)
    check_number("a channel picked by place", pick, minimum=0, maximum=n_channels - 1, integer=True)
    return int(pick)


def _panels(
    groups: list[list[str]],
    axes: Axes | Sequence[Axes] | None,
    figsize: tuple[float, float],
    *,
    lead: float = 1.0,
) -> tuple[Figure, list[Axes]]:
    """The caller's axes, or those of a new figure with a group per row; if it is wide, the first two share a row.

    The very first panel is `lead` times as wide as its neighbours.
    """
    names = [name for group in groups for name in group]
    if axes is not None:
        panels = list(np.ravel(axes))
        if len(panels) != len(names):
            raise ValueError(f"axes must be {len(names)} Axes ({', '.join(names)}), got {len(panels)}.")
        return panels[0].get_figure(root=True), panels
    figure = plt.figure(figsize=figsize, layout="constrained")
    n_shared = 2 if figsize[0] >= _WIDE else 1
    groups = [sum(groups[:n_shared], []), *groups[n_shared:]]
    panels = []
    for row, group in zip(figure.subfigures(len(groups), 1, squeeze=False)[:, 0], groups, strict=True):
        widths = [lead if name == names[0] else 1.0 for name in group]
        panels += row.subplots(1, len(group), squeeze=False, width_ratios=widths)[0].tolist()
    return figure, panels


def _example_map(mask: object, epoch: int, random_state: object) -> np.ndarray:
    """The map given, or one drawn for 30 s."""
    if not callable(mask):
        return _pick_map(mask, epoch, 0)
    seeds = epoch_seeds(random_state, epoch + 1)[epoch:]
    return mask(torch.zeros(1, 1, _EXAMPLE_SAMPLES), seeds, locations=None).map[0, 0].numpy()


def _pick_map(maps: object, epoch: int, place: int) -> np.ndarray:
    """Map (n_freqs, n_frames) of one epoch and channel."""
    maps = np.asarray(maps, dtype=np.float32)
    if maps.ndim == 2:
        return maps
    if maps.ndim != 4 or epoch >= len(maps) or (maps.shape[1] > 1 and place >= maps.shape[1]):
        raise ValueError(
            "mask must be a mask, or a map of shape (n_freqs, n_frames) or (n_epochs, 1 or n_channels, n_freqs, "
            f"n_frames) that holds epoch {epoch} and channel {place}, got shape {maps.shape}."
        )
    return maps[epoch, place if maps.shape[1] > 1 else 0]


def _masked_epoch(
    mask: object,
    epochs: object,
    epoch: int,
    pick: int | str,
    sfreq: float | None,
    unit: str,
    ch_names: Sequence[str] | None,
    random_state: object,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """One channel in volts before and after the mask, its map, and its name."""
    reader = open_epochs(epochs, sfreq=sfreq, unit=unit, ch_names=ch_names)
    _check_epoch(epoch, reader.n_epochs)
    (place,), (name,) = _find_channels(pick, reader.n_channels, reader.ch_names)
    x = to_network(reader.volts(slice(epoch, epoch + 1)), reader.sfreq or SFREQ)
    if callable(mask):
        seeds = epoch_seeds(random_state, reader.n_epochs)[epoch : epoch + 1]
        locations = channel_locations(measurement_info(epochs), reader.ch_names)
        masked, maps = mask(x, seeds, locations=locations)
        kept, after = _pick_map(maps, 0, place), masked[0, place]
    else:
        kept = _pick_map(mask, epoch, place)
        after = _apply_map(kept, x[0, place])
    return x[0, place].numpy() * UNIT_VOLTS, after.numpy() * UNIT_VOLTS, kept, name


def _apply_map(kept: np.ndarray, x: torch.Tensor) -> torch.Tensor:
    """Weigh the bins of a signal's short-time Fourier transform, whose frames overlap by half."""
    n_fft = 2 * (len(kept) - 1)
    frames = {"n_fft": n_fft, "hop": n_fft // 2}
    expected = n_frames(len(x), **frames)
    if kept.shape[1] != expected:
        raise ValueError(
            f"The map has {kept.shape[1]} frames, but epochs of {len(x)} samples at 200 Hz have {expected} of {n_fft} "
            "samples that overlap by half; give the epochs that the map was made for."
        )
    return istft(stft(x, **frames) * torch.from_numpy(kept), **frames, n_times=len(x))


@_styled
def plot_diagnosis(
    diagnosis: Diagnosis,
    *,
    bands: Sequence[str] = ("alpha", "beta"),
    axes: Sequence[Axes] | None = None,
    figsize: tuple[float, float] | None = None,
    show: bool | None = None,
) -> Figure:
    """Show a health check: how features change from stage to stage, and what the mask alone explains.

    Trained weights are drawn with full lines, random weights of the same architecture (means over seeds) with dashed
    ones.

    Parameters
    ----------
    diagnosis : Diagnosis
        From :func:`mne_specmoe.diagnose`.
    bands : sequence of str
        Bands whose power is read from features, of delta, theta, alpha and beta.
    axes : sequence of 5 Axes | None
        Where to draw: dimensions, band powers, shares of variance, distances of clean from masked views, errors with
        features of others. None: a new figure.
    figsize : (float, float) | None
        Size of the new figure in inches.
    show : bool | None
        True calls ``plt.show()``; None and False leave that to you.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If `diagnosis` does not come from :func:`mne_specmoe.diagnose`.
    ValueError
        If a band is unknown, or axes do not fit.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from mne_specmoe import SpecHiNet, diagnose, make_epochs, plot_diagnosis
    >>> epochs, y, groups = make_epochs(n_epochs=8, n_channels=2, duration=2)
    >>> figure = plot_diagnosis(diagnose(SpecHiNet(), epochs, groups, n_random=0))
    >>> plt.close(figure)
    """
    if not isinstance(diagnosis, Diagnosis):
        raise TypeError(f"diagnosis must come from mne_specmoe.diagnose, got {type(diagnosis).__name__}.")
    for band in bands:
        check_option("a band", band, tuple(BANDS))
    groups = [["dimensions"], ["band powers"], ["shares", "distances", "exchange"]]
    figure, panels = _panels(groups, axes, figsize or (_PAGE_WIDTH, 5.0))
    _draw_stages(panels[0], diagnosis, {"trained": lambda stage: stage.participation_ratio}, label_random="random")
    panels[0].set(yscale="log", ylim=(1, None), ylabel="dimensions", ymargin=0.1)
    panels[0].yaxis.set_minor_formatter("")
    _draw_stages(panels[1], diagnosis, {band: lambda stage, band=band: stage.r2[band] for band in bands})
    panels[1].set(ylim=(-0.25, 1), ylabel="R² to power in other people")
    _draw_shares(panels[2], diagnosis.trained)
    _draw_stages(panels[3], diagnosis, {"": lambda stage: stage.distance})
    panels[3].set(ylim=(0, None), ylabel="clean from masked (sd)", ymargin=0.1)
    _draw_exchange(panels[4], diagnosis)
    for panel in panels[:4]:
        panel.set_xticks(range(len(diagnosis.trained.stages)), diagnosis.trained.stages, rotation=60, ha="right")
    if axes is None:
        figure.suptitle("\n".join(wrap(f"{diagnosis.weights}: {diagnosis.summary}", 110)))
    return figure


def _draw_stages(
    panel: Axes,
    diagnosis: Diagnosis,
    numbers: Mapping[str, Callable[[StageFindings], float]],
    *,
    label_random: str | None = None,
) -> None:
    """Numbers over stages, of trained weights in full lines and of random ones in dashed ones."""
    stages = list(diagnosis.trained.stages)
    for (name, read), colour in zip(numbers.items(), _LINES, strict=False):
        for label, networks, style in ((name, [diagnosis.trained], "o-"), (label_random, diagnosis.random, "o--")):
            if networks:
                values = [mean_over([read(each.stages[stage]) for each in networks]) for stage in stages]
                panel.plot(values, style, color=colour, markersize=3, label=label)
    if any(numbers):
        _legend_above(panel)


def _draw_shares(panel: Axes, trained: NetworkFindings) -> None:
    """Shares of the variance by stages, on top of one another."""
    colours = {"mask": MASKED, "person": REBUILT, "segment": "#56B4E9", "amplitude": "#CC79A7"}
    bottom = np.zeros(len(trained.stages))
    for name, colour in colours.items():
        shares = np.nan_to_num([stage.shares[name] for stage in trained.stages.values()])
        panel.bar(range(len(shares)), shares, bottom=bottom, color=colour, label=name)
        bottom += shares
    panel.set(ylim=(0, 1), ylabel="share of variance")
    _legend_above(panel)


def _legend_above(panel: Axes) -> None:
    """Where it hides no numbers."""
    panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, columnspacing=1, handlelength=1.5)


def _draw_exchange(panel: Axes, diagnosis: Diagnosis) -> None:
    """Errors with one's own features and with those of others."""
    found = diagnosis.trained.exchange
    if found is None:
        panel.text(0.5, 0.5, "features of others:\nnot measurable", ha="center", transform=panel.transAxes)
        panel.set_axis_off()
        return
    names = {"baseline": "none", "own": "own", "other_person": "other person", "other_mask": "other mask"}
    errors = {label: found.errors[name] for name, label in names.items() if not np.isnan(found.errors[name])}
    panel.bar(range(len(errors)), list(errors.values()), color=[MASKED, *[REBUILT] * (len(errors) - 1)])
    panel.set_xticks(range(len(errors)), errors, rotation=60, ha="right")
    panel.set_ylabel("error with features of")


def _draw_map(panel: Axes, kept: np.ndarray, duration: float | None, f_max: float) -> None:
    """What a mask keeps, in Hz × s."""
    freqs = np.linspace(0, SFREQ / 2, len(kept))
    times = np.arange(kept.shape[1]) * (len(kept) - 1) / SFREQ  # frames are two hops long
    image = panel.pcolormesh(times, freqs, kept, vmin=0, vmax=1, cmap="cividis", shading="nearest", rasterized=True)
    panel.set(xlim=(0, duration or times[-1]), ylim=(0, f_max), xlabel="time (s)", ylabel="frequency (Hz)")
    panel.set_title(f"mask: {1 - kept.mean():.0%} removed")
    _add_colour_bar(image, [panel], "share kept", ticks=[0, 0.5, 1])


def _draw_signals(
    panel: Axes, signals: dict[str, tuple[np.ndarray, str]], names: list[str], tmin: float, duration: float
) -> None:
    """Signals (n_channels, n_times) in volts over one another, the channels below one another."""
    window = slice(round(tmin * SFREQ), round((tmin + duration) * SFREQ) + 1)
    cut = {label: 1e6 * volts[:, window] for label, (volts, _) in signals.items()}
    first = next(iter(cut.values()))
    if not first.shape[1]:
        n_times = next(iter(signals.values()))[0].shape[1]
        raise ValueError(f"tmin={tmin:g} s is after the end of the epochs, which last {n_times / SFREQ:g} s.")
    times = tmin + np.arange(first.shape[1]) / SFREQ
    step = max(np.ptp(uv, axis=-1).max() for uv in cut.values()) or 1.0
    offsets = -step * np.arange(len(names))
    centres = first.mean(-1)
    for label, uv in cut.items():
        width = 1.3 if uv is first else 0.7  # the clean signal shows from under the others
        lines = panel.plot(times, (uv + (offsets - centres)[:, None]).T, color=signals[label][1], linewidth=width)
        lines[0].set_label(label)
    panel.set(xlim=(times[0], times[-1]), xlabel="time (s)", yticks=offsets, yticklabels=names)
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)
    panel.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(cut), borderaxespad=0.2, handlelength=1.5)
    _add_scale_bar(panel, _round_down(step / 2), offsets[-1])


def _add_scale_bar(panel: Axes, height_uv: float, bottom: float) -> None:
    """A bar of so many µV to the right of the signals."""
    panel.annotate(
        "", (1.02, bottom), (1.02, bottom + height_uv), panel.get_yaxis_transform(), annotation_clip=False,
        arrowprops={"arrowstyle": "-", "shrinkA": 0, "shrinkB": 0, "linewidth": 1.5},
    )  # fmt: skip
    panel.text(
        1.035, bottom + height_uv / 2, f"{height_uv:g} µV", transform=panel.get_yaxis_transform(), va="center",
        rotation=90, fontsize=7,
    )  # fmt: skip


def _round_down(value: float) -> float:
    """The largest of 1, 2, 5, 10, 20, ... that is not above `value`."""
    decade = 10.0 ** np.floor(np.log10(value))
    return float(decade * max(digit for digit in (1, 2, 5) if digit * decade <= value * (1 + 1e-9)))


def _draw_errors(panel: Axes, result: ReconstructedEpochs, bands: Mapping[str, tuple[float, float]]) -> None:
    """Relative error per band, masked beside rebuilt."""
    kinds = {"masked": ("masked", MASKED), "rebuilt": ("reconstruction", REBUILT)}
    places = np.arange(len(bands))
    for shift, (label, (of, colour)) in zip((-0.2, 0.2), kinds.items(), strict=True):
        heights = list(band_errors(result, bands, of=of).values())
        panel.bar(places + shift, heights, 0.4, color=colour, label=label)
    panel.axhline(1, color="gray", linewidth=0.6, linestyle="--")
    labels = [f"{name}\n{low:g}–{high:g}" for name, (low, high) in bands.items()]
    panel.set(xticks=places, xticklabels=labels, xlabel="band (Hz)", ylabel="relative error (1: silence)")
    panel.tick_params(axis="x", length=0)
    n_epochs, n_channels, _ = result.original.shape
    panel.set_title(f"{_counted(n_epochs, 'epoch')}, {_counted(n_channels, 'channel')}")


def _counted(number: int, noun: str) -> str:
    """1 epoch, 2 epochs."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _draw_spectrograms(panels: Sequence[Axes], signals: dict[str, np.ndarray], name: str, f_max: float) -> None:
    """Spectrograms of signals (n_times,) of one channel in volts, in the colours that suit the first of them."""
    spectrograms = [_spectrogram(volts) for volts in signals.values()]
    freqs, times, first = spectrograms[0]
    shown = freqs <= f_max
    low, high = np.percentile(first[shown], _PERCENTILES)
    low = max(low, high - _MOST_DECIBELS)  # the band that a filter has emptied is no concern
    for panel, title, (_, _, decibels) in zip(panels, signals, spectrograms, strict=True):
        image = panel.pcolormesh(
            times, freqs[shown], decibels[shown], vmin=low, vmax=high, cmap="viridis", shading="nearest",
            rasterized=True,
        )  # fmt: skip
        duration = len(signals[title]) / SFREQ
        panel.set(xlim=(0, duration), ylim=(0, f_max), xlabel="time (s)", title=title)
    for panel in panels[1:]:
        panel.tick_params(axis="y", labelleft=False)
    panels[0].set_ylabel(f"{name}: frequency (Hz)")
    _add_colour_bar(image, panels, "power (dB re 1 µV²/Hz)", extend="both")


def _spectrogram(volts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequencies, times and power in dB re 1 µV²/Hz, over windows of 2 s, four to the second."""
    uv = 1e6 * volts.astype(np.float64)
    n_window, hop = min(400, len(uv)), 50
    transform = ShortTimeFFT(hann(n_window, sym=False), hop, SFREQ, mfft=400, scale_to="psd", fft_mode="onesided2X")
    frames = range(len(uv) // hop + 1)  # centred from the first sample to the last
    power = transform.spectrogram(uv - uv.mean(), p0=0, p1=len(frames), padding="even")
    return transform.f, np.array(frames) * hop / SFREQ, 10 * np.log10(np.maximum(power, 1e-12))


def _add_colour_bar(image: AxesImage, panels: Sequence[Axes], label: str, **options) -> None:
    """A thin colour bar at the side of the panels."""
    bar = panels[0].get_figure(root=False).colorbar(image, ax=list(panels), label=label, aspect=25, pad=0.02, **options)
    bar.outline.set_linewidth(0.6)
    bar.formatter.set_powerlimits((-2, 3))
    bar.formatter.set_useMathText(True)


def _gate_weights(gate: object, epochs: object) -> np.ndarray:
    """Gates (n_epochs, n_channels, n_experts), computed or given."""
    if hasattr(gate, "gate_weights"):
        return gate.gate_weights(epochs)
    if not isinstance(gate, np.ndarray | torch.Tensor | list):
        raise TypeError(
            "gate must be a fitted SpecMoEClassifier or SpecMoERegressor, or an array of gates, got "
            f"{type(gate).__name__}."
        )
    weights = np.asarray(gate, dtype=float)
    if weights.ndim not in (2, 3) or 0 in weights.shape:
        raise ValueError(
            f"gate must be of shape (n_epochs, n_channels, n_experts) or (n_channels, n_experts), got {weights.shape}."
        )
    return weights[None] if weights.ndim == 2 else weights


def _gate_channels(
    names: Sequence[str] | None, epochs: object | None, n_channels: int
) -> tuple[list[str], mne.Info | None]:
    """Names of the gates' channels, and their info if all have a place on the head."""
    info = measurement_info(epochs)
    if info is not None:
        names = _eeg_names(info) if names is None else names
        if len(names) != n_channels:
            raise ValueError(f"gate has {n_channels} channels, but the Epochs have {len(names)} EEG channels.")
        info = mne.pick_info(info, mne.pick_channels(info["ch_names"], names, ordered=True))
    names = [f"channel {place}" for place in range(n_channels)] if names is None else list(names)
    return names, info if _are_on_head(info, names) else None


def _eeg_names(info: mne.Info) -> list[str]:
    """Names of the EEG channels, bad ones included."""
    return [info["ch_names"][pick] for pick in mne.pick_types(info, eeg=True, exclude=[])]


def _are_on_head(info: mne.Info | None, names: list[str]) -> bool:
    """Whether a topography can be drawn: enough channels, all with a place of their own."""
    locations = channel_locations(info, names)
    if locations is None or locations.isnan().any():
        return False
    return len(locations) >= _FEWEST_FOR_TOPOGRAPHY and len(locations.unique(dim=0)) == len(locations)


def _gate_panels(
    with_sensitivity: bool,
    n_experts: int,
    n_rows: int,
    axes: Axes | Sequence[Axes] | None,
    figsize: tuple[float, float] | None,
) -> tuple[Figure, list[Axes]]:
    """Axes for the sensitivity and for every expert's channels, of which `n_rows` are listed."""
    groups = [["sensitivity"]] * with_sensitivity + [[f"expert {e + 1}" for e in range(n_experts)]] * (n_experts > 0)
    width = _PAGE_WIDTH / 2 if n_experts == 0 else max(_PAGE_WIDTH, 1.3 * (n_experts + 2 * with_sensitivity))
    height = max(2.2, 0.7 + 0.13 * n_rows)
    return _panels(groups, axes, figsize or (width, height), lead=2.2 if with_sensitivity else 1.0)


def _draw_sensitivity(panel: Axes, estimator: object, statistic: str, f_max: float) -> None:
    """Expert × frequency: how much a gate opens as the power rises."""
    sensitivity = STATISTICS[statistic](_sensitivity(estimator)).numpy()
    n_experts, n_freqs = sensitivity.shape
    freqs = np.linspace(0, SFREQ / 2, n_freqs)
    shown = freqs <= f_max
    largest = np.abs(sensitivity[:, shown]).max() or 1.0
    low, cmap = (-largest, "RdBu_r") if statistic == "mean" else (0.0, "viridis")
    image = panel.pcolormesh(
        freqs[shown], np.arange(n_experts), sensitivity[:, shown], vmin=low, vmax=largest, cmap=cmap,
        shading="nearest", rasterized=True,
    )  # fmt: skip
    panel.set(xlim=(0, f_max), xlabel="frequency (Hz)", yticks=range(n_experts), ylabel="expert")
    panel.set(yticklabels=range(1, n_experts + 1), ylim=(n_experts - 0.5, -0.5))
    panel.tick_params(axis="y", length=0)
    for expert in range(1, n_experts):
        panel.axhline(expert - 0.5, color="white", linewidth=1.5)
    _mark_bands(panel, f_max)
    label = "gate opens by" if statistic == "mean" else "gate changes by"
    _add_colour_bar(image, [panel], f"{label}\n(per SD of log power)")


def _mark_bands(panel: Axes, f_max: float) -> None:
    """Lines at the edges of the bands, and their letters above."""
    letters = {"delta": "δ", "theta": "θ", "alpha": "α", "beta": "β"}
    for name, (low, high) in BANDS.items():
        for edge in (low, high):
            if edge < f_max:
                panel.axvline(edge, color="black", linewidth=0.4, alpha=0.5)
        if high <= f_max:
            panel.text((low + high) / 2, 1.02, letters[name], transform=panel.get_xaxis_transform(), ha="center")


def _sensitivity(estimator: object) -> torch.Tensor:
    """Slope of every gate against the standardised log power, (n_experts, n_features, n_freqs); see `plot_gate`."""
    check_is_fitted(estimator, "network_")
    if not hasattr(estimator.network_.readout, "gate"):
        raise ValueError(f"head={estimator.head!r} has no gate: one linear layer reads all parts. Fit with head='mlp'.")
    gate = estimator.network_.readout.gate
    if gate.scale == "none":
        raise ValueError('The estimator was fitted with gate_scale="none": its gates are always 1, whatever they see.')

    def gates(z: torch.Tensor) -> torch.Tensor:
        psd = 10 ** (gate.log_mean + z * gate.log_std)
        return gate(psd[None, None])[0, :, 0]

    return torch.autograd.functional.jacobian(gates, torch.zeros_like(gate.log_mean)).detach().cpu()


def _draw_topographies(panels: Sequence[Axes], gates: np.ndarray, info: mne.Info) -> None:
    """Gates (n_channels, n_experts) on the head, one head per expert."""
    limits = (gates.min(), gates.max())
    for expert, panel in enumerate(panels):
        image, _ = mne.viz.plot_topomap(
            gates[:, expert], info, axes=panel, vlim=limits, cmap="viridis", contours=0, show=False
        )
        panel.set_title(f"expert {expert + 1}")
    _add_colour_bar(image, panels, "mean gate")


def _draw_channels(panels: Sequence[Axes], weights: np.ndarray, names: list[str]) -> None:
    """Gates (n_epochs, n_channels, n_experts) channel by channel: mean and standard deviation over epochs."""
    rows = np.arange(len(names))
    mean, deviation = weights.mean(0), weights.std(0)
    low, high = (mean - deviation).min(), (mean + deviation).max()
    margin = 0.05 * (high - low) or 0.05
    for expert, panel in enumerate(panels):
        panel.errorbar(mean[:, expert], rows, xerr=deviation[:, expert], fmt="o", color=REBUILT, markersize=3)
        panel.set(yticks=rows, yticklabels=names if expert == 0 else [], ylim=(len(names) - 0.5, -0.5))
        panel.set(xlim=(low - margin, high + margin), xlabel="gate ± SD", title=f"expert {expert + 1}")
        panel.xaxis.set_major_locator(MaxNLocator(2))
        panel.grid(axis="y", linewidth=0.3)
