"""Verdicts: which numbers are good, which are poor, and what is said where something is missing."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mne_specmoe.diagnosis.findings import (
    GOOD,
    POOR,
    UNKNOWN,
    Diagnosis,
    ExchangeFindings,
    NetworkFindings,
    SpectrumFindings,
    StageFindings,
)
from mne_specmoe.diagnosis.statistics import FACTORS
from mne_specmoe.diagnosis.table import as_text
from mne_specmoe.diagnosis.verdicts import judge

R2 = {"delta": 0.9, "theta": 0.8, "alpha": 0.9, "beta": 0.8}
SPECTRUM = SpectrumFindings(9.0, R2)
SHARES = {"mask": 0.2, "person": 0.2, "segment": 0.3, "amplitude": 0.1, "rest": 0.2}
ERRORS = {"baseline": 0.8, "own": 0.7, "other_person": 0.79, "other_mask": 0.9}


def stage(**numbers: object) -> StageFindings:
    numbers = {"n_features": 128, "participation_ratio": 9.0, "r2": R2, "shares": SHARES, "distance": 1.0} | numbers
    return StageFindings(**numbers, r2_with_deviations=numbers["r2"])


def exchange(**errors: float) -> ExchangeFindings:
    errors = ERRORS | errors
    change = errors["other_person"] - errors["own"]
    return ExchangeFindings("error of what is rebuilt", "the masked signal", errors, (change, change - 1, change + 1))


def network(found: ExchangeFindings | None = None, **numbers: object) -> NetworkFindings:
    return NetworkFindings({"down1": stage(), "embedding": stage(**numbers)}, R2, found or exchange())


def statuses(trained: NetworkFindings, random: list[NetworkFindings] | None = None) -> dict[str, str]:
    verdicts = judge(trained, [network()] if random is None else random, SPECTRUM, {})
    return {verdict.name: verdict.status for verdict in verdicts}


def diagnosis(
    trained: NetworkFindings,
    random: list[NetworkFindings] | None = None,
    spectrum: SpectrumFindings = SPECTRUM,
    **reasons: str,
) -> Diagnosis:
    random = [network()] if random is None else random
    verdicts = judge(trained, random, spectrum, reasons)
    return Diagnosis("lab.safetensors", "specmoe", 240, 8, 19, 4.0, spectrum, trained, random, verdicts)


def test_sound_numbers_are_good():
    assert set(statuses(network()).values()) == {GOOD}
    assert diagnosis(network()).healthy is True
    assert diagnosis(network()).summary == "healthy"


@pytest.mark.parametrize(
    ("name", "found", "numbers"),
    [
        ("dimensions", None, {"participation_ratio": 1.1}),
        ("band powers", None, {"r2": R2 | {"beta": 0.4}}),
        ("against random", None, {"r2": R2 | {"theta": 0.65}}),
        ("mask", None, {"shares": SHARES | {"mask": 1.6}}),
        ("amplitude", None, {"shares": SHARES | {"amplitude": 0.6}}),
        ("features of another person", exchange(other_person=0.74), {}),
        ("features of another person", exchange(own=0.797), {}),
        ("clean view", None, {"distance": 2.1}),
    ],
)
def test_every_number_beyond_its_limit_is_poor(name, found, numbers):
    found = statuses(network(found, **numbers))
    poor = {each for each, status in found.items() if status == POOR}
    assert name in poor
    assert poor <= {name, "against random"}  # which band powers go with


def test_epochs_whose_spectra_fill_few_dimensions_ask_for_few():
    spectrum = SpectrumFindings(1.5, R2 | {"beta": 0.5})
    found = diagnosis(network(participation_ratio=1.1, r2=R2 | {"beta": 0.4}), [], spectrum)
    assert {v.name: v.status for v in found.verdicts}["dimensions"] == GOOD
    assert {v.name: v.status for v in found.verdicts}["band powers"] == GOOD


def test_what_training_costs_is_named():
    (verdict,) = (
        v for v in judge(network(r2=R2 | {"theta": 0.5}), [network()], SPECTRUM, {}) if v.name == "against random"
    )
    assert "theta (0.50; random weights 0.80 to 0.80)" in verdict.text
    assert "alpha" not in verdict.text


def test_nothing_is_not_less_than_nothing():
    nothing = network(r2=R2 | {"theta": -0.02})
    assert statuses(network(r2=R2 | {"theta": -3.0}), [nothing])["against random"] == GOOD


def test_only_what_all_random_weights_carry_can_be_lost():
    seeds = [network(r2=R2 | {"alpha": alpha}) for alpha in (0.5, 0.99)]
    assert statuses(network(r2=R2 | {"alpha": 0.6}), seeds)["against random"] == GOOD
    assert statuses(network(r2=R2 | {"alpha": 0.35}), seeds)["against random"] == POOR


def test_a_network_that_rebuilds_nothing_has_learnt_nothing():
    found = diagnosis(network(exchange(own=0.8, other_person=0.8)))
    (verdict,) = (v for v in found.verdicts if v.name == "features of another person")
    assert "nothing was learnt" in verdict.text
    assert np.isnan(found.trained.exchange.lost)


def test_what_could_not_be_measured_is_said_with_its_reason():
    missing = stage(
        participation_ratio=np.nan,
        r2=dict.fromkeys(R2, np.nan),
        shares=dict.fromkeys(FACTORS, np.nan),
        distance=np.nan,
    )
    trained = NetworkFindings({"embedding": missing}, missing.r2, None)
    found = diagnosis(trained, [], SpectrumFindings(np.nan, missing.r2), dimensions="it takes 20 epochs, got 3")
    assert {verdict.status for verdict in found.verdicts} == {UNKNOWN}
    assert found.verdicts[0].text == "it takes 20 epochs, got 3"
    assert found.healthy is None
    assert found.summary.startswith("undecided (not measurable: dimensions, band powers")


def test_one_poor_line_is_enough_and_unknown_ones_are_named():
    trained = replace(network(participation_ratio=1.0), exchange=None)
    found = diagnosis(trained)
    assert found.healthy is False
    assert found.summary == "not healthy: dimensions (not measurable: features of another person)"


def test_nothing_is_healthy_whose_band_powers_nobody_could_ask_for():
    unasked = network(r2=dict.fromkeys(R2, np.nan))
    assert diagnosis(unasked).healthy is None
    assert diagnosis(unasked).summary == "undecided (not measurable: band powers, against random)"
    assert diagnosis(network(participation_ratio=1.0, r2=dict.fromkeys(R2, np.nan))).healthy is False
    without_decoder = replace(network(), exchange=None)
    assert diagnosis(without_decoder).summary == "healthy (not measurable: features of another person)"


def test_the_text_has_every_verdict_and_both_tables():
    found = diagnosis(network(distance=np.nan))
    text = as_text(found)
    assert all(verdict.text in text and verdict.limit in text for verdict in found.verdicts)
    assert "? clean view: not measurable" in text
    assert text.splitlines()[0] == "lab.safetensors: 240 epochs of 8 people, 19 channels, 4 s"
    assert [line.split()[0] for line in text.splitlines() if line.startswith(("down1", "embedding"))] == 2 * [
        "down1",
        "embedding",
    ]
    assert text.rstrip().endswith(f"lab.safetensors: {found.summary}.")
    assert max(len(line) for line in text.splitlines() if not line.startswith("    ")) <= 100


def test_json_has_all_numbers_and_no_nan():
    found = diagnosis(network(distance=np.nan))
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["trained"]["stages"]["embedding"]["distance"] is None
    assert content["trained"]["exchange"]["lost"] == pytest.approx(0.9)
    assert content["healthy"] is True
    assert content["verdicts"][0]["name"] == "dimensions"
    assert len(content["random"]) == 1
