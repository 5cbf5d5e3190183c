"""How much `mne_specmoe.benchmark.speed` measures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """How much to measure.

    Attributes
    ----------
    n_rounds : int
        How many turns every task gets, of two runs each; the shortest run counts.
    expert : tuple of int
        Channels and samples of the segments that one expert gets.
    windows : tuple of tuple of int
        Channels and samples of the windows that the featurizer gets.
    n_windows : int
        How many of them at a time.
    fit : tuple of int
        Epochs, channels and samples for fits with frozen experts.
    unfrozen : tuple of int
        The same, where experts train.
    transform : tuple of int
        Channels and samples of epochs for the featurizer's memory.
    n_transform : tuple of int
        Two numbers of epochs, whose peaks are compared.
    mask : tuple of int
        Segments, channels and samples that are masked.
    settings : tuple of int
        Epochs, channels (up to 8) and samples with which settings of the estimators are compared.
    n_pretraining : tuple of int
        Two numbers of segments per batch, of the size that an expert gets. Memory is that of both, speed that of the
        second.
    corpus : tuple of int
        Recordings and segments in each, of the same size, that are read.
    brainrvq : tuple of int
        Segments, channels (up to 19) and samples that BrainRVQ gets.
    n_epochs : int
        How many epochs of that size BrainRVQ's encoder turns into features.
    depth : int
        Blocks of BrainRVQ's encoders.
    n_codes : int
        Codes per codebook.
    n_vectors : int
        How many vectors are compared with one codebook.
    peer_windows : tuple of tuple of int
        Channels and samples of the windows on which our networks and the peers are compared.
    n_peer_windows : int
        How many of them at a time, in inference and in training steps.
    n_peer_rounds : int
        As `n_rounds`, for these.
    peer_threads : tuple of int
        Numbers of threads with which these are timed.
    peers : tuple of str | None
        Titles of the networks, of `mne_specmoe.benchmark.peer_speed.NETWORKS`. None: all.
    """

    n_rounds: int = 3
    expert: tuple[int, int] = (19, 6000)
    windows: tuple[tuple[int, int], ...] = ((19, 6000), (64, 800), (4, 6000))
    n_windows: int = 6
    fit: tuple[int, int, int] = (200, 19, 800)
    unfrozen: tuple[int, int, int] = (32, 4, 800)
    transform: tuple[int, int] = (19, 400)
    n_transform: tuple[int, int] = (200, 2000)
    mask: tuple[int, int, int] = (64, 19, 6000)
    settings: tuple[int, int, int] = (16, 8, 800)
    n_pretraining: tuple[int, int] = (2, 4)
    corpus: tuple[int, int] = (8, 32)
    brainrvq: tuple[int, int, int] = (2, 19, 6000)
    n_epochs: int = 8
    depth: int = 12
    n_codes: int = 8192
    n_vectors: int = 16_384
    peer_windows: tuple[tuple[int, int], ...] = ((16, 2000), (19, 6000))
    n_peer_windows: int = 4
    n_peer_rounds: int = 2
    peer_threads: tuple[int, ...] = (1, 2)
    peers: tuple[str, ...] | None = None


FULL = Sizes()
QUICK = Sizes(
    n_rounds=1,
    expert=(19, 1200),
    windows=((19, 1200), (64, 400), (4, 1200)),
    n_windows=2,
    fit=(40, 8, 400),
    unfrozen=(8, 2, 400),
    transform=(8, 400),
    n_transform=(40, 400),
    mask=(8, 19, 1200),
    settings=(4, 4, 400),
    n_pretraining=(1, 2),
    corpus=(2, 16),
    brainrvq=(1, 19, 1200),
    n_epochs=4,
    n_vectors=2048,
    peer_windows=((16, 400), (19, 1200)),
    n_peer_windows=2,
    n_peer_rounds=1,
)
