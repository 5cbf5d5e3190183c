"""One place for the errors that users meet: options, numbers, devices and seeds."""

import numbers
import sys
import warnings
from collections.abc import Collection

import numpy as np
import torch

_INSIDE = ("mne_specmoe", "sklearn")


class CheckpointError(ValueError):
    """A weights file that cannot be read, or that does not hold what it should."""


class SpecMoEWarning(UserWarning):
    """Base class of this package's warnings, so that they can be filtered in one line."""


class UntrainedWarning(SpecMoEWarning):
    """The experts have random weights: nothing was learnt from other recordings."""


class AmplitudeWarning(SpecMoEWarning):
    """The amplitude is implausible for EEG, so the unit is probably wrong."""


def warn_caller(message: str, category: type[Warning] = SpecMoEWarning) -> None:
    """Warn whoever called the package, be it through scikit-learn: from there, how deep inside does not matter."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def check_option(name: str, value: object, allowed: Collection) -> None:
    """Raise a ValueError that lists what is allowed unless `value` is in `allowed`."""
    if not any(value is option or value == option for option in allowed):
        options = ", ".join(repr(option) for option in allowed)
        raise ValueError(f"{name}={value!r} is not known; allowed: {options}.")


def listed(names: Collection, *, at_most: int = 40) -> str:
    """Names in quotes, at most so many of them, for an error message."""
    shown = ", ".join(repr(str(name)) for name in list(names)[:at_most]) or "none"
    return shown if len(names) <= at_most else f"{shown}, ... ({len(names)} in all)"


def check_number(
    name: str,
    value: object,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    integer: bool = False,
    strict: bool = False,
) -> None:
    """Raise unless `value` is a finite number in [minimum, maximum] (``strict``: above minimum)."""
    kind = numbers.Integral if integer else numbers.Real
    wanted = "an integer" if integer else "a number"
    if isinstance(value, bool | np.bool_) or not isinstance(value, kind):
        raise TypeError(f"{name} must be {wanted}, got {value!r} of type {type(value).__name__}.")
    if not np.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value!r}.")
    too_low = minimum is not None and (value <= minimum if strict else value < minimum)
    if too_low or (maximum is not None and value > maximum):
        bounds = [] if minimum is None else [f"{'>' if strict else '>='} {minimum}"]
        bounds += [] if maximum is None else [f"<= {maximum}"]
        raise ValueError(f"{name} must be {' and '.join(bounds)}, got {value!r}.")


def check_device(device: str | torch.device) -> torch.device:
    """Resolve ``"auto"`` to CUDA, MPS or the CPU; raise if a device is asked for that is absent."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is not known; allowed: 'auto', 'cpu', 'cuda', 'cuda:<index>', 'mps'."
        ) from error
    if resolved.type == "cuda":
        n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (resolved.index or 0) >= n_devices:
            raise ValueError(
                f"device={device!r} was asked for, but torch sees {n_devices} CUDA devices here; "
                "use device='auto' or 'cpu', or install a CUDA build of torch."
            )
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device='mps' was asked for, but torch sees none here; use device='auto'.")
    if resolved.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device={device!r} is not supported; allowed: 'auto', 'cpu', 'cuda', 'mps'.")
    return resolved


def check_seed(random_state: object) -> int:
    """Turn None, an int, a RandomState or a Generator into one integer seed."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool):
        if not 0 <= random_state < 2**32:
            raise ValueError(f"random_state must be in [0, 2**32), got {random_state}.")
        return int(random_state)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    raise TypeError(f"random_state must be None, an int, a RandomState or a Generator, got {random_state!r}.")
