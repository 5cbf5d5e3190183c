"""Speed side by side: every network has all its figures, or is listed with the reason."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import needs_braindecode

from mne_specmoe.benchmark import peer_speed, speed
from mne_specmoe.benchmark.peer_speed import NETWORKS, REFERENCE, Work
from mne_specmoe.benchmark.sizes import QUICK
from mne_specmoe.benchmark.speed_page import page

ONE_EXPERT = "SpecMoE (one expert)"
PEER = "ST-Transformer"
FEW = replace(QUICK, peer_windows=((2, 200),), peers=(REFERENCE, PEER))
OF_LIBRARY = ("EEGNet", "ShallowFBCSPNet", "EEGConformer", "BENDR", "BIOT", "LaBraM", "CBraMod")


@pytest.fixture
def in_this_process(monkeypatch):
    """A fresh process takes seconds to import torch."""
    monkeypatch.setattr(peer_speed, "in_fresh_process", lambda function, *args: function(*args))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report on two light networks, as it is read back from its file."""
    path = tmp_path_factory.mktemp("speed") / "speed.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "QUICK", FEW)
        patch.setattr(peer_speed, "in_fresh_process", lambda function, *args: function(*args))
        speed.main(["--quick", "--parts", "peers", "--json", str(path)])
    return json.loads(path.read_text(encoding="utf-8"))


def values_of(report):
    return {figure["name"]: figure["value"] for figure in report["figures"]}


def test_networks_are_those_of_the_benchmark():
    ours = (REFERENCE, ONE_EXPERT, "BrainRVQ (starter)", "BrainRVQ (depth 12)")
    small = ("EEGNet", "ShallowFBCSPNet", "EEGConformer", "ST-Transformer")
    assert tuple(NETWORKS) == (*ours, *small, "BENDR", "BIOT", "LaBraM", "CBraMod")


def test_every_network_has_all_figures(report):
    wanted = {
        f"{what}, {title}, 2 × 200{threads}"
        for title in FEW.peers
        for what, threads in [
            *((what, "") for what in ("parameters", "inference FLOPs", "training step FLOPs")),
            *((what, "") for what in ("inference memory", "training step memory")),
            *((what, f", {n}") for what in ("inference", "training step") for n in ("1 thread", "2 threads")),
        ]
    }
    values = values_of(report)
    assert values.keys() == wanted
    assert all(np.isfinite(value) and value > 0 for value in values.values())
    assert report["left_out"] == []
    assert report["sizes"]["n_peer_windows"] == FEW.n_peer_windows
    assert {"mne-specmoe", "torch"} <= report["machine"]["versions"].keys()


def test_speeds_are_compared_with_those_of_specmoe(report):
    values = values_of(report)
    ratios = {ratio["name"]: ratio["value"] for ratio in report["ratios"]}
    assert len(ratios) == 4
    for name, ratio in ratios.items():
        assert PEER in name
        assert ratio == pytest.approx(values[name] / values[name.replace(PEER, REFERENCE)])


def test_written_report_is_shown_as_it_was_measured(report, capsys):
    text = speed.table(report)
    assert all(entry["name"] in text for entry in report["figures"] + report["ratios"])
    values, tables = values_of(report), page(report)
    row = next(line for line in tables.splitlines() if line.startswith(f"| {PEER} |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    rate = values[f"inference, {PEER}, 2 × 200, 2 threads"]
    ratio = rate / values[f"inference, {REFERENCE}, 2 × 200, 2 threads"]
    shown = [float(cell.replace(",", "")) for cell in cells[1:]]
    expected = (
        values[f"parameters, {PEER}, 2 × 200"],
        values[f"inference FLOPs, {PEER}, 2 × 200"],
        rate,
        ratio,
        values[f"inference memory, {PEER}, 2 × 200"],
    )
    np.testing.assert_allclose([*shown[:2], *shown[4:]], expected, rtol=0.01)
    assert f"torch {report['machine']['versions']['torch']}" in tables


def test_report_without_peers_has_no_page(report):
    report = report | {"figures": [{"name": "mask", "value": 1.0, "unit": "s"}]}
    with pytest.raises(ValueError, match="--parts peers"):
        page(report)


def test_impossible_sizes_are_listed_with_the_reason(in_this_process):
    sizes = replace(FEW, peer_windows=((2, 100), (25, 200)), peers=("BrainRVQ (starter)", PEER), peer_threads=(1,))
    report = speed.measure(["peers"], sizes=sizes)
    left_out = {each["name"]: each["reason"] for each in report["left_out"]}
    assert left_out.keys() == {f"all, {PEER}, 2 × 100", "all, BrainRVQ (starter), 25 × 200"}
    assert "a second or more" in left_out[f"all, {PEER}, 2 × 100"]
    assert "EEG20" in left_out["all, BrainRVQ (starter), 25 × 200"]
    measured = {name.split(", ", 1)[1] for name in values_of(report) if name.startswith("parameters")}
    assert measured == {"BrainRVQ (starter), 2 × 100", f"{PEER}, 25 × 200"}
    for text in (speed.table(report), page(report)):
        assert all(reason in text for reason in left_out.values())


def test_network_that_fails_at_work_is_listed(monkeypatch, in_this_process):
    def fail(self):
        raise RuntimeError("too many channels")

    monkeypatch.setattr(Work, "n_flops", fail)
    report = speed.measure(["peers"], sizes=replace(FEW, peers=(PEER,)))
    assert report["figures"] == []
    assert report["left_out"] == [{"name": f"all, {PEER}, 2 × 200", "reason": "too many channels"}]


@pytest.mark.parametrize(
    "title",
    [
        pytest.param(title, marks=needs_braindecode if title in OF_LIBRARY else ())
        for title in NETWORKS
        if title != "BENDR"  # gigabytes
    ],
)
def test_every_network_learns_in_a_step(title):
    work = Work(title, (4, 400), 2)
    before = [parameter.detach().clone() for parameter in work.network.parameters()]
    random = torch.get_rng_state()
    work.infer()
    assert torch.equal(torch.get_rng_state(), random)
    work.step()
    after = list(work.network.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in after)
    frozen = {id(each) for each in work.network.parameters() if each.grad is None}
    changed = [not torch.equal(*pair) for pair in zip(before, after, strict=True) if id(pair[1]) not in frozen]
    assert np.mean(changed) > 0.8
    assert len(frozen) < 0.3 * len(after)  # normalisations of masked signals, which nothing shows here
    assert work.n_parameters() == sum(parameter.numel() for parameter in before)


def test_flops_are_those_of_one_window():
    few, many = (Work(PEER, (3, 400), n).n_flops() for n in (1, 5))
    assert few["inference"] == many["inference"]
    assert 2 * few["inference"] < few["training step"] <= 3.5 * few["inference"]


def test_three_experts_cost_three_times_one():
    three, one = (Work(title, (1, 200), 1).n_flops()["inference"] for title in (REFERENCE, ONE_EXPERT))
    assert 2.9 < three / one < 3.1


def test_memory_includes_the_network_and_is_measured_in_a_fresh_process():
    held = Work("BrainRVQ (starter)", (2, 200), 1).n_bytes()
    inference, training = peer_speed.in_fresh_process(peer_speed._peaks, "BrainRVQ (starter)", (2, 200), 1, 1)
    assert held < inference < 1e9
    assert training > 3.5 * held  # gradients and two moments
    assert training < 1e9
