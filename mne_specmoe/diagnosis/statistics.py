"""What the health check computes of features: dimensions, shares of variance, distances of two views."""

import numpy as np

FACTORS = ("mask", "person", "segment", "amplitude", "rest")
"""What `variance_shares` shares the variance of a feature out to."""

_LEAST_SHARE = 1e-8  # of the largest variance: a feature with less is constant but for rounding


def participation_ratio(features: np.ndarray) -> float:
    """Number of dimensions that features fill.

    With the eigenvalues :math:`\\lambda` of the covariance of the features over epochs,

    .. math:: (\\sum \\lambda)^2 / \\sum \\lambda^2

    It is 1 where all features are one and the same, and their number where all are independent and of one variance.
    It is at most the number of epochs less one.

    Parameters
    ----------
    features : ndarray, shape (n_epochs, n_features)
        In the network's own scale: directions that hardly vary count little.

    Returns
    -------
    ratio : float
        NaN where nothing varies.
    """
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    n_epochs, n_features = centred.shape
    gram = centred @ centred.T if n_epochs < n_features else centred.T @ centred  # the same eigenvalues
    squares = np.square(gram).sum()
    return float(np.trace(gram) ** 2 / squares) if squares > 0 else np.nan


def varying(features: np.ndarray) -> np.ndarray:
    """Which features vary over the first axis, beyond rounding: (..., n_features) → bool (n_features,)."""
    variance = features.reshape(-1, features.shape[-1]).var(0, dtype=np.float64)
    return variance > _LEAST_SHARE * variance.max(initial=0.0)


def variance_shares(grid: np.ndarray) -> dict[str, float]:
    """Share a feature's variance out to mask, person, segment and amplitude.

    The design is balanced: person p has S segments s, each is seen under the same M masks m, at the same G gains g.
    The model is

    .. math:: y_{psmg} = \\mu + \\pi_p + \\sigma_{s(p)} + \\mu_m + \\gamma_g + \\epsilon_{psmg}

    with random effects: segments are nested in persons, masks and gains are crossed with both, and all interactions are
    in the rest. Components of variance are those of the analysis of variance (method of moments): with the mean squares
    MS of every effect,

    .. math::

        v_{rest} = MS_{rest}, \\quad
        v_{mask} = \\frac{MS_{mask} - MS_{rest}}{PSG}, \\quad
        v_{amplitude} = \\frac{MS_{gain} - MS_{rest}}{PSM}, \\quad
        v_{segment} = \\frac{MS_{segment} - MS_{rest}}{MG}, \\quad
        v_{person} = \\frac{MS_{person} - MS_{segment}}{SMG}

    A feature's shares are its components over their sum. The result is the mean over all features that vary, each
    counted alike; only then, what is below 0 is set to 0, and the shares are made to add up to 1 again. (Cut feature
    by feature, what scatters around 0 would add up.) With one person, or one gain, that component is 0.

    Parameters
    ----------
    grid : ndarray, shape (n_persons, n_segments, n_masks, n_gains, n_features)
        Two segments and two masks or more.

    Returns
    -------
    shares : dict of str to float
        Of `FACTORS`; they add up to 1. NaN where nothing varies.

    References
    ----------
    Searle, Casella, McCulloch, "Variance Components", 1992, section 4.
    """
    grid = grid[..., varying(grid)].astype(np.float64)
    if not grid.shape[-1]:
        return dict.fromkeys(FACTORS, np.nan)
    components = _components(grid)
    total = sum(components.values())
    shares = {name: max(0.0, float((components[name] / total).mean())) for name in FACTORS}
    return {name: share / sum(shares.values()) for name, share in shares.items()}


def _components(grid: np.ndarray) -> dict[str, np.ndarray]:
    """Components of variance per feature (n_features,)."""
    n_persons, n_segments, n_masks, n_gains, _ = grid.shape
    n = n_persons * n_segments * n_masks * n_gains
    mean = grid.mean((0, 1, 2, 3))

    def squares(axes: tuple[int, ...]) -> np.ndarray:
        """Sum of squares of the means over some axes."""
        n_means = np.prod([grid.shape[a] for a in range(4) if a not in axes])
        return np.square(grid.mean(axes) - mean).reshape(-1, grid.shape[-1]).sum(0) * (n / n_means)

    sums = {"person": squares((1, 2, 3)), "mask": squares((0, 1, 3)), "amplitude": squares((0, 1, 2))}
    sums["segment"] = squares((2, 3)) - sums["person"]
    sums["rest"] = squares(()) - sum(sums.values())
    freedom = {
        "person": n_persons - 1,
        "mask": n_masks - 1,
        "amplitude": n_gains - 1,
        "segment": n_persons * (n_segments - 1),
    }
    freedom["rest"] = n - 1 - sum(freedom.values())
    mean_squares = {name: sums[name] / max(freedom[name], 1) for name in FACTORS}
    rest, segment = mean_squares["rest"], mean_squares["segment"]
    components = {
        "mask": (mean_squares["mask"] - rest) / (n // n_masks),
        "person": (mean_squares["person"] - segment) / (n // n_persons),
        "segment": (segment - rest) / (n_masks * n_gains),
        "amplitude": (mean_squares["amplitude"] - rest) / (n // n_gains),
        "rest": rest,
    }
    return components | {name: 0 * rest for name, df in freedom.items() if df == 0}


def view_distance(clean: np.ndarray, masked: np.ndarray) -> float:
    """How far clean views lie from the masked ones of the same segments, in standard deviations of the masked ones.

    A network that was trained on masked signals alone meets clean ones for the first time in use. Per feature, the
    distance is :math:`|\\bar c - \\bar m| / s_m`; the result is the median over the features that vary.

    Parameters
    ----------
    clean : ndarray, shape (n_segments, n_features)
        Features of segments as they are.
    masked : ndarray, shape (n_segments, n_masks, n_features)
        Features of the same segments under several masks; the deviation is over both.

    Returns
    -------
    distance : float
        0 where both views have the same mean; NaN where nothing varies.
    """
    kept = varying(masked)
    if not kept.any():
        return np.nan
    masked = masked[..., kept].reshape(-1, kept.sum()).astype(np.float64)
    difference = clean[:, kept].mean(0, dtype=np.float64) - masked.mean(0)
    return float(np.median(np.abs(difference) / masked.std(0, ddof=1)))
