"""Epochs that scikit-learn's cross-validation slices natively."""

import mne


class SliceableEpochs(mne.EpochsArray, mne.BaseEpochs):  # spectra of MNE look at direct parents only
    """Epochs in memory that also answer to what scikit-learn asks of an array.

    Made by :func:`as_sklearn`. Everything :class:`mne.Epochs` can do works as before; besides, they
    have ``shape`` and ``ndim``, and take an index in the form ``epochs[index, ...]``, which is how
    scikit-learn slices arrays. What comes out of any slicing is of this class again.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of epochs, channels (of all types) and samples."""
        return len(self), len(self.ch_names), len(self.times)

    @property
    def ndim(self) -> int:
        """Always 3."""
        return 3

    def __getitem__(self, item):
        """Select epochs as in MNE, or by ``(index, ...)`` as scikit-learn does."""
        if isinstance(item, tuple) and len(item) == 2 and item[1] is Ellipsis:
            item = item[0]
        return super().__getitem__(item)


def as_sklearn(epochs: mne.BaseEpochs) -> SliceableEpochs:
    """Make a copy of epochs that scikit-learn's cross-validation slices natively.

    scikit-learn turns plain Epochs into a list of one-epoch Epochs, for every fold anew: correct
    results, but slow, and most estimators cannot take it. The copy made here is sliced like an
    array, and the folds stay genuine Epochs with info, events, metadata, annotations and drop log,
    for ``cross_val_score``, ``GridSearchCV``, ``train_test_split`` and the rest, with any estimator
    that takes Epochs.

    Parameters
    ----------
    epochs : mne.Epochs
        The epochs, which are not changed. Lazy ones are loaded in the copy; epochs that are bad are
        dropped from it.

    Returns
    -------
    epochs : SliceableEpochs
        A copy with the same data.

    Raises
    ------
    TypeError
        If ``epochs`` is not an mne.Epochs.

    Examples
    --------
    >>> from mne_specmoe import as_sklearn, make_epochs
    >>> epochs, y, groups = make_epochs(n_epochs=8, random_state=0)
    >>> X = as_sklearn(epochs)
    >>> X.shape
    (8, 19, 800)
    >>> X[[0, 3], ...].shape
    (2, 19, 800)
    """
    if not isinstance(epochs, mne.BaseEpochs):
        raise TypeError(
            f"epochs must be an mne.Epochs, got {type(epochs).__name__}; arrays need no wrapping, "
            "and a list of Epochs is joined by mne.concatenate_epochs."
        )
    loaded = epochs.copy().load_data().drop_bad()
    sliceable = SliceableEpochs.__new__(SliceableEpochs)
    # MNE's constructor would subtract the baseline and project once more, and lose annotations
    sliceable.__dict__.update(loaded.__dict__)
    return sliceable
