"""The estimators that SpecMoE is measured against."""

from mne_specmoe.benchmark.classical import CLASSICAL
from mne_specmoe.benchmark.entries import Entry
from mne_specmoe.benchmark.specialists import SPECIALISTS

PEERS: tuple[Entry, ...] = (*CLASSICAL, *SPECIALISTS)
"""In the order of tables."""
