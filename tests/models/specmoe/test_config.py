"""What an expert may be."""

import pytest

from mne_specmoe.models.specmoe.config import LAYOUTS, SpecHiNetConfig


def test_what_is_not_said_is_the_layouts():
    names = ("dropout", "amplitude", "decoder", "masked_norms", "n_mixtures")
    ours, published = ([getattr(SpecHiNetConfig(layout), name) for name in names] for layout in LAYOUTS)
    assert ours == [0.0, "relative", "envelope", True, 2]
    assert published == [0.2, "absolute", "signal", False, 0]


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({"amplitude": "relative"}, "amplitude='absolute'"),
        ({"decoder": "gains"}, "decoder='signal'"),
        ({"masked_norms": True}, "masked_norms=False"),
        ({"n_mixtures": 1}, "n_mixtures=0"),
        ({"bypass": False}, "bypass=True"),
        ({"told_mask": True, "decoder": "envelope"}, "decoder='signal' and told_mask=False"),
    ],
)
def test_the_published_layout_is_as_published(options, needed):
    with pytest.raises(ValueError, match=f"published arithmetic: it needs {needed}"):
        SpecHiNetConfig("published", **options)
    SpecHiNetConfig("channelwise", **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layout": "flat"}, ValueError, "layout='flat'.*'channelwise', 'published'"),
        ({"dropout": 1.0}, ValueError, "dropout must be"),
        ({"dropout": "0.2"}, TypeError, "dropout must be"),
        ({"amplitude": "loud"}, ValueError, "amplitude='loud'.*'relative', 'absolute'"),
        ({"decoder": "none"}, ValueError, "decoder='none'.*'envelope', 'gains', 'signal'"),
        ({"n_mixtures": -1}, ValueError, "n_mixtures must be"),
        ({"n_mixtures": 1.5}, TypeError, "n_mixtures must be"),
        ({"edition": 1}, ValueError, "edition must be 2, got 1"),
        ({"bypass": "no"}, TypeError, "bypass must be True or False, got 'no'"),
        ({"told_mask": None}, TypeError, "told_mask must be True or False"),
        ({"told_mask": 1}, TypeError, "told_mask must be True or False"),
        ({"masked_norms": 0}, TypeError, "masked_norms must be True or False"),
    ],
)
def test_what_cannot_be_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        SpecHiNetConfig(**options)
