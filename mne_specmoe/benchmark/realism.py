"""How like real EEG synthetic EEG is: spectra, amplitudes, and how alike channels are by their distance.

``python -m mne_specmoe.benchmark.realism CORPUS ...`` prints a table: a column per corpus, medians over people with the
10th and 90th percentile.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.signal import butter, hilbert, sosfiltfilt, welch
from scipy.stats import kurtosis

from mne_specmoe.data.corpus import Corpus

DISTANCES_CM = ((0, 5), (5, 8), (8, 12), (12, 16), (16, 30))
"""Bins of the distance between two electrodes, in a straight line."""

_FIT_HZ = (2.0, 40.0)
_PEAK_HZ = (7.0, 13.5)  # left out of the fit
_MOST_SEGMENTS = 12  # of a person
_WINDOW_SECONDS = 2.0


def person_measures(uv: np.ndarray, sfreq: float, locations: np.ndarray) -> dict[str, float]:
    """Measure the EEG of one person.

    Parameters
    ----------
    uv : ndarray, shape (n_segments, n_channels, n_times)
        In µV.
    sfreq : float
        In Hz.
    locations : ndarray, shape (n_channels, 3)
        In metres; NaN where unknown.

    Returns
    -------
    measures : dict of str to float
        NaN where there is nothing to measure, as distances between the channels of a small cap.
    """
    frequencies, power = welch(uv, sfreq, nperseg=round(_WINDOW_SECONDS * sfreq))
    slope, alpha_db, alpha_hz = _spectrum(frequencies, np.log10(power.mean(0)).mean(0))
    shown = {
        "exponent, 2-40 Hz without 7-13.5": -slope,
        "alpha peak over the fit, dB": alpha_db,
        "alpha peak, Hz": alpha_hz,
        "amplitude, µV rms of a channel": float(np.median(uv.std(-1))),
        "largest value of a segment, µV": float(np.median(np.abs(uv).max((1, 2)))),
        "share of power below 4 Hz": _share(frequencies, power, 0.5, 4),
        "share of power from 20 to 45 Hz": _share(frequencies, power, 20, 45),
        "excess kurtosis": float(np.median(kurtosis(uv, axis=-1))),
        "variation of the alpha envelope": _alpha_variation(uv, sfreq),
    }
    return shown | _correlations(uv, locations)


def _spectrum(frequencies: np.ndarray, log_power: np.ndarray) -> tuple[float, float, float]:
    """Slope of log power over log frequency; height over that line in dB, and place, of the alpha peak."""
    in_peak = (frequencies >= _PEAK_HZ[0]) & (frequencies <= _PEAK_HZ[1])
    fitted = (frequencies >= _FIT_HZ[0]) & (frequencies <= _FIT_HZ[1]) & ~in_peak
    slope, height = np.polyfit(np.log10(frequencies[fitted]), log_power[fitted], 1)
    above = log_power[in_peak] - (height + slope * np.log10(frequencies[in_peak]))
    return float(slope), float(10 * above.max()), float(frequencies[in_peak][above.argmax()])


def _share(frequencies: np.ndarray, power: np.ndarray, low: float, high: float) -> float:
    """Share of a band in the power from 0.5 to 45 Hz; median over channels and segments."""
    whole = power[..., (frequencies >= 0.5) & (frequencies <= 45)].sum(-1)
    return float(np.median(power[..., (frequencies >= low) & (frequencies < high)].sum(-1) / whole))


def _alpha_variation(uv: np.ndarray, sfreq: float) -> float:
    """Standard deviation over mean of the envelope from 8 to 12 Hz; for Gaussian noise about 0.52."""
    envelope = np.abs(hilbert(sosfiltfilt(butter(3, (8, 12), "bandpass", fs=sfreq, output="sos"), uv, axis=-1)))
    return float(np.median(envelope.std(-1) / envelope.mean(-1)))


def _correlations(uv: np.ndarray, locations: np.ndarray) -> dict[str, float]:
    """Correlations of pairs of channels by their distance, against the mean of all channels if they are many."""
    if len(locations) >= 8:
        uv = uv - uv.mean(1, keepdims=True)
    one, other = np.triu_indices(len(locations), 1)
    distance = 100 * np.linalg.norm(locations[one] - locations[other], axis=1)
    found = np.mean([np.corrcoef(segment)[one, other] for segment in uv], 0) if len(one) else np.empty(0)
    return {
        f"correlation, {low}-{high} cm": _mean_or_nan(found[(distance >= low) & (distance < high)])
        for low, high in DISTANCES_CM
    }


def _mean_or_nan(values: np.ndarray) -> float:
    """The mean; NaN of nothing."""
    return float(values.mean()) if len(values) else np.nan


def corpus_measures(corpus: Corpus) -> dict[str, np.ndarray]:
    """Measure all people of a corpus, each by some of the segments.

    Parameters
    ----------
    corpus : Corpus

    Returns
    -------
    measures : dict of str to ndarray, shape (n_people,)
        See `person_measures`; whoever has several montages counts once for each.
    """
    rows = []
    for montage in range(len(corpus.montages)):
        for subject in np.unique(corpus.subject_of[corpus.montage_of == montage]):
            own = np.flatnonzero((corpus.subject_of == subject) & (corpus.montage_of == montage))
            stored = corpus.read(own[np.linspace(0, len(own) - 1, min(len(own), _MOST_SEGMENTS)).astype(int)])
            uv = stored.values * stored.scale_uv[..., None].astype(float)
            rows.append(person_measures(uv, corpus.sfreq, corpus.locations(montage).astype(float)))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def table(measures: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """Show measures of corpora side by side, as a table in Markdown.

    Parameters
    ----------
    measures : mapping of str to mapping
        Name of a corpus → `corpus_measures`.

    Returns
    -------
    text : str
    """
    names = list(measures)
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    people = [str(len(next(iter(measures[name].values())))) for name in names]
    lines.append(f"| people | {' | '.join(people)} |")
    for measure in measures[names[0]]:
        cells = (_cell(measures[name][measure]) for name in names)
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(values: np.ndarray) -> str:
    """Median, 10th and 90th percentile."""
    values = values[np.isfinite(values)]
    if not len(values):
        return "–"
    low, middle, high = np.percentile(values, (10, 50, 90))
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]"


def main(argv: Sequence[str] | None = None) -> None:
    """Compare corpora from the command line.

    Parameters
    ----------
    argv : sequence of str | None
        Arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m mne_specmoe.benchmark.realism", description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="+", metavar="CORPUS", help="folders of corpora")
    found = {path.name: corpus_measures(Corpus(path)) for path in parser.parse_args(argv).corpora}
    sys.stdout.write(table(found))


if __name__ == "__main__":
    main()
