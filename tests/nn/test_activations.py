"""Statistics of activations: against numpy, names, and what is refused."""

import numpy as np
import pytest
import torch

from mne_specmoe.nn.activations import ActivationStatistics, check_readout

WIDTHS = {"early": 3, "late": 2}
NAMES = ["C3", "C4"]


@pytest.fixture
def activations():
    generator = torch.Generator().manual_seed(0)
    shapes = {"early": (5, 2, 3, 20), "late": (5, 2, 2, 7)}
    return [{stage: torch.randn(shape, generator=generator) for stage, shape in shapes.items()} for _ in range(2)]


def make(readout, **options):
    return ActivationStatistics("experts", ["expert1", "expert2"], WIDTHS, readout, **{"n_channels": 2} | options)


def columns(part, activations):
    x = torch.zeros(5, 2, 10)
    features = part(part.measure(x, activations)).numpy()
    return dict(zip(part.feature_names(NAMES), features.T, strict=True))


def test_statistics_are_over_the_tokens_of_a_channel(activations):
    table = columns(make(("early.mean", "late.log_std", "late.max")), activations)
    assert len(table) == 2 * 2 * (3 + 2 + 2)
    early, late = activations[1]["early"].numpy(), activations[1]["late"].numpy()
    np.testing.assert_allclose(table["experts_C4_expert2_early.mean_002"], early[:, 1, 2].mean(-1), rtol=1e-5)
    np.testing.assert_allclose(
        table["experts_C3_expert2_late.log_std_001"], np.log(late[:, 0, 1].std(-1)), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(table["experts_C3_expert2_late.max_000"], late[:, 0, 0].max(-1), rtol=1e-6)


@pytest.mark.parametrize(("pooling", "pool"), [("mean", np.mean), ("max", np.max)])
def test_channels_are_pooled_after_time(pooling, pool, activations):
    apart = columns(make(("early.log_std",)), activations)
    pooled = columns(make(("early.log_std",), channel_pooling=pooling, n_channels=None), activations)
    assert len(pooled) == 6
    for name, values in pooled.items():
        own = [apart[name.replace("experts_", f"experts_{channel}_")] for channel in NAMES]
        np.testing.assert_allclose(values, pool(own, 0), rtol=1e-5)


def test_covariances_of_a_stage_are_between_channels(activations):
    part = make(("early.covariance",))
    table = columns(part, activations)
    assert "experts_C3_C4_expert2_early.covariance" in table
    assert len(table) == 2 * 3
    found = part.covariances(part.measure(torch.zeros(5, 2, 10), activations))[:, 1]
    early = activations[1]["early"].double()
    centred = (early - early.mean(-1, keepdim=True)).flatten(2)
    expected = centred @ centred.mT / 60
    np.testing.assert_allclose(found[:, 0, 1], 0.95 * expected[:, 0, 1], rtol=1e-5, atol=1e-7)


def test_one_token_is_enough_for_finite_features(activations):
    short = [{stage: values[..., :1] for stage, values in each.items()} for each in activations]
    for values in columns(make(("early.mean", "early.log_std", "late.covariance")), short).values():
        assert np.isfinite(values).all()


def test_only_what_keeps_channels_apart_needs_all_of_them():
    assert make(("early.mean",)).keeps_channels
    assert not make(("early.mean",), channel_pooling="mean").keeps_channels
    assert make(("early.mean", "late.covariance"), channel_pooling="mean").keeps_channels


@pytest.mark.parametrize(
    ("readout", "error", "match"),
    [
        ("early.mean", TypeError, "list or tuple"),
        ((), TypeError, "list or tuple"),
        (("middle.mean",), ValueError, "'middle.mean'.*stages: 'early', 'late'; statistics: 'mean', 'max', 'log_std'"),
        (("early.median",), ValueError, "'early.median'.*'covariance'"),
        (("early",), ValueError, "'early'.*stage and a statistic"),
        ((3,), ValueError, "3"),
        (("early.mean", "early.mean"), ValueError, "twice"),
    ],
)
def test_readouts_that_do_not_exist_are_refused_with_a_list_of_those_that_do(readout, error, match):
    with pytest.raises(error, match=match):
        check_readout(readout, tuple(WIDTHS))
