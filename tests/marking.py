"""Estimators that leave a mark when they are fitted, for tests of the runner, in processes too."""

import os
import time
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class Marking(ClassifierMixin, BaseEstimator):
    """Predicts by the mean of the signals; writes one file per fit, named by what it was fitted to."""

    def __init__(self, folder=None, seconds=0.0, fails_on=None, random_state=None):
        self.folder = folder
        self.seconds = seconds
        self.fails_on = fails_on
        self.random_state = random_state

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        name = f"{X.sum():.9e}-{y.sum()}-{self.random_state}"
        if self.folder is not None:
            with open(Path(self.folder) / f"{name}", "a") as file:
                file.write(f"{os.getpid()}\n")
        time.sleep(self.seconds)
        if self.fails_on is not None and self.fails_on == self.random_state:
            raise RuntimeError("the random state is wrong")
        return self

    def predict_proba(self, X):
        share = (X.mean((1, 2)) > 0).astype(float)
        return np.stack([1 - share, share], 1)[:, : len(self.classes_)]

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(1)]


class WithoutProbabilities(ClassifierMixin, BaseEstimator):
    """Has labels only."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])
