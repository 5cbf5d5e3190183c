"""Small files in the formats of the data sets that recipes read."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import edfio
import numpy as np


def write_edf(
    path: Path, names: Sequence[str], sfreq: int, volts: np.ndarray, begin: datetime.time = datetime.time(0)
) -> None:
    """Write EDF, in µV up to 300."""
    path.parent.mkdir(parents=True, exist_ok=True)
    signals = [
        edfio.EdfSignal(row * 1e6, sfreq, label=name, physical_dimension="uV", physical_range=(-300, 300))
        for name, row in zip(names, volts, strict=True)
    ]
    edfio.Edf(signals, starttime=begin).write(path)


def waves(n_channels: int, n_times: int, sfreq: float, *, seed: float = 0.0, lowest: float = 5.0) -> np.ndarray:
    """Sines of 50 µV, each channel with a frequency of its own, whose phases drift from window to window."""
    hertz = lowest + 0.37 * np.arange(n_channels) + 0.013 * (1 + seed)
    return 50e-6 * np.sin(2 * np.pi * hertz[:, None] * np.arange(n_times) / sfreq)


def write_cnt(path: Path, names: Sequence[str], sfreq: int, volts: np.ndarray) -> None:
    """Write Neuroscan CNT with 32 bits and steps of 0.01 µV: header, electrodes, samples, an empty table of events."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n_channels, n_samples = volts.shape
    end = 900 + 75 * n_channels + 4 * volts.size
    header = bytearray(900)
    header[225:247] = b"01/02/20  10:00:00".ljust(22, b"\0")
    for place, kind, value in (
        (370, "<u2", n_channels),
        (376, "<u2", sfreq),
        (864, "<i4", n_samples),
        (886, "<i4", end),
    ):
        stored = np.array(value, kind).tobytes()
        header[place : place + len(stored)] = stored
    electrodes = bytearray(75 * n_channels)
    for number, name in enumerate(names):
        at = 75 * number
        electrodes[at : at + 10] = name.encode().ljust(10, b"\0")
        electrodes[at + 19 : at + 27] = np.array([number % 9, number // 9], "<f4").tobytes()
        electrodes[at + 59 : at + 63] = np.array(0.01, "<f4").tobytes()
        electrodes[at + 71 : at + 75] = np.array(204.8, "<f4").tobytes()
    samples = np.rint(volts.T * 1e8).astype("<i4").tobytes()
    path.write_bytes(bytes(header) + bytes(electrodes) + samples + b"\1" + bytes(8))
