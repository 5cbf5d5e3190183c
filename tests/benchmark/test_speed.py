"""The plain form computes the same, and the benchmark reports what it says."""

import json

import numpy as np
import pytest
import torch
from lively_experts import parts as parts_of

from mne_specmoe.benchmark import brainrvq_parts, estimator_parts, gauges, speed, speed_parts
from mne_specmoe.benchmark.plain import plain_expert
from mne_specmoe.models.specmoe.axial import Attention
from mne_specmoe.models.specmoe.config import LAYOUTS
from mne_specmoe.models.specmoe.network import SpecHiNet
from mne_specmoe.models.specmoe.published_layout import AttentionBlock
from mne_specmoe.nn.layers import ConvNormAct, Dropout, MaxPool1d, PhaseConvTranspose1d

TINY = speed.Sizes(
    n_rounds=1,
    expert=(19, 360),
    windows=((2, 400),),
    n_windows=2,
    fit=(8, 2, 400),
    unfrozen=(8, 1, 400),
    transform=(2, 400),
    n_transform=(2, 6),
    mask=(2, 2, 400),
    settings=(2, 2, 400),
    n_pretraining=(1, 2),
    corpus=(2, 3),
    brainrvq=(1, 2, 400),
    n_epochs=2,
    depth=1,
    n_codes=16,
    n_vectors=8,
)


@pytest.fixture(params=LAYOUTS)
def experts(request) -> tuple[SpecHiNet, SpecHiNet]:
    """An expert without dropout, whose running statistics have seen something, and its plain form."""
    torch.manual_seed(0)
    expert = SpecHiNet(request.param, dropout=0.0)
    with torch.no_grad():
        for _ in range(3):
            expert(torch.randn(2, 3, 720))
    return expert, plain_expert(expert)


def loss(output) -> torch.Tensor:
    """A number that depends on every output."""
    return sum((each * torch.linspace(-1, 1, each.shape[-1])).square().mean() for each in output if each is not None)


def test_plain_form_has_none_of_the_shortcuts(experts):
    expert, plain = experts
    shortcuts = (ConvNormAct, PhaseConvTranspose1d, MaxPool1d, Dropout)
    assert not [module for module in plain.modules() if type(module) in shortcuts]
    attentions = [
        {module.attention for module in each.modules() if isinstance(module, AttentionBlock | Attention)}
        for each in (expert, plain)
    ]
    assert attentions[0]
    assert not attentions[0] & attentions[1]


def test_plain_form_is_a_copy_with_the_same_state(experts):
    expert, plain = experts
    theirs = plain.state_dict()
    assert list(theirs) == list(expert.state_dict())
    for name, value in expert.state_dict().items():
        assert torch.equal(theirs[name], value)
        assert theirs[name].data_ptr() != value.data_ptr()


@pytest.mark.parametrize("training", [False, True])
def test_plain_form_is_in_the_same_mode(training):
    plain = plain_expert(SpecHiNet("channelwise").train(training))
    assert all(module.training == training for module in plain.modules() if not list(module.children()))


@pytest.mark.parametrize("training", [False, True])
def test_plain_form_gives_the_same_outputs(experts, training):
    expert, plain = (each.train(training) for each in experts)
    x = torch.randn(2, 3, 720)
    with torch.no_grad():
        for ours, theirs in zip(parts_of(expert(x)), parts_of(plain(x)), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_plain_form_gives_the_same_gradients(experts, training):
    expert, plain = (each.double().train(training) for each in experts)
    x = torch.randn(2, 3, 720, dtype=torch.float64)
    for each in (expert, plain):
        loss(each(x)).backward()
    ours, theirs = (dict(each.named_parameters()) for each in (expert, plain))
    assert ours.keys() == theirs.keys()
    for name, parameter in ours.items():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-6, atol=1e-10, msg=name)


def in_this_process(function, *args):
    """Stand-in: ten processes that import everything would take longer than all other tests here.

    A process that has done much already may not grow at all, hence the 1.
    """
    growth = function(*args)
    return growth + 1 if isinstance(growth, int) else (growth[0] + 1, growth[1])


def test_reports_every_part_as_table_and_json(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(speed, "QUICK", TINY)
    for parts in (speed_parts, estimator_parts, brainrvq_parts):
        monkeypatch.setattr(parts, "in_fresh_process", in_this_process)
    speed.main(["--quick", "--json", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["machine"]["n_threads"] == 1
    assert report["machine"]["torch"] == torch.__version__
    assert len(report["ratios"]) == len(speed._COMPARISONS)  # so every figure in it was measured
    assert all(np.isfinite(ratio["value"]) and ratio["holds"] is None for ratio in report["ratios"])
    timed = [figure for figure in report["figures"] if figure["unit"] != "MiB"]
    assert all(figure["value"] > 0 for figure in timed)
    table = capsys.readouterr().out
    assert speed.table(report) == table
    assert all(entry["name"] in table for entry in report["figures"] + report["ratios"])


def test_measures_only_the_parts_asked_for():
    n_threads = torch.get_num_threads()
    report = speed.measure(["featurizer"], sizes=TINY)
    assert torch.get_num_threads() == n_threads
    assert [figure["name"] for figure in report["figures"]] == ["featurizer, 2 × 400"]
    assert report["ratios"] == []


@pytest.mark.parametrize("variant", speed_parts.PRETRAINING)
def test_pretraining_is_measured_by_steps_that_train(variant):
    pretraining = speed_parts._Pretraining(variant)
    before = [parameter.clone() for parameter in pretraining.objective.parameters()]
    pretraining.step(speed_parts._batch(1, 19, 400))
    after = list(pretraining.objective.parameters())
    assert all(torch.isfinite(parameter).all() and parameter.dtype == torch.float32 for parameter in after)
    assert not any(torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_loader_counts_the_bytes_of_files():
    segments, megabytes = speed.measure(["loader"], sizes=TINY)["figures"]
    assert megabytes["value"] / segments["value"] * 1e6 == pytest.approx(19 * 360 * 2 + 19 * 4)


def test_ratios_are_judged_by_their_goals():
    figures = [
        speed.Figure("forward, published plain", 4.2, "s"),
        speed.Figure("forward, published", 1.0, "s"),
        speed.Figure("forward, channelwise", 1.0, "s"),
        speed.Figure("forward memory, published", 39.0, "MiB"),
        speed.Figure("forward memory, published plain", 100.0, "MiB"),
        speed.Figure("transform memory, few (200)", 100.0, "MiB"),
        speed.Figure("transform memory, many (2000)", 400.0, "MiB"),
    ]
    found = {ratio.name: (round(ratio.value, 1), ratio.holds) for ratio in speed.compare(figures)}
    assert found == {
        "published forward": (4.2, True),
        "channelwise forward": (4.2, False),
        "published forward memory": (39.0, True),
        "transform of more epochs, extra memory": (314.6, False),
    }
    assert {ratio.holds for ratio in speed.compare(figures, judge=False)} == {None}


def test_peak_memory_sees_what_was_freed_again():
    peak = gauges.PeakMemory()
    np.ones(8_000_000).sum()
    assert 60e6 < peak.growth() < 120e6


def test_peak_memory_is_measured_in_a_fresh_process():
    growth = gauges.in_fresh_process(speed_parts._expert_growth, "published", "forward", (19, 1200), 1)
    assert 20e6 < growth < 500e6
