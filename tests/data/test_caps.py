"""Caps on the spherical head: which electrodes there are, and what sources bring about there."""

import mne
import numpy as np
import pytest

from mne_specmoe.data.caps import (
    HEAD_RADIUS,
    REFERENCE_SITES,
    choose_channels,
    electrodes,
    make_cap,
    site_direction,
)
from mne_specmoe.data.preprocessing import TEN_TWENTY_19


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def upright(cap, dipole: int) -> np.ndarray:
    return cap.dipoles[dipole] / np.linalg.norm(cap.dipoles[dipole])


def test_the_papers_channels_are_a_choice_of_their_own(rng):
    assert choose_channels("paper", rng).channels == TEN_TWENTY_19


def test_a_montage_alone_means_all_its_places_once(rng):
    chosen = choose_channels("standard_1020", rng)
    places = np.array(list(electrodes("standard_1020").values()))
    assert len(chosen.channels) == len(places)
    assert "T7" in chosen.channels
    assert "T3" not in chosen.channels  # the same place
    distance = np.linalg.norm(places[:, None] - places, axis=-1) + np.eye(len(places))
    assert distance.min() > 1e-3


def test_a_number_draws_channels_in_the_order_of_the_montage():
    one, same, other = (choose_channels("biosemi64:20", np.random.default_rng(seed)).channels for seed in (0, 0, 1))
    assert one == same != other
    assert len(set(one)) == 20
    order = list(electrodes("biosemi64"))
    assert sorted(one, key=order.index) == list(one)


def test_names_choose_channels_in_their_order_old_names_too(rng):
    assert choose_channels("standard_1005:TP9, AF7,T3", rng).channels == ("TP9", "AF7", "T3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("biosemi65", "no montage 'biosemi65'.*'paper'.*'biosemi64'"),
        ("artinis-octamon", "no montage"),
        ("biosemi32:Fp1,X9", "'biosemi32' has no channels 'X9'.*'Fp1'"),
        ("biosemi32:Fp1,Fp1", "different"),
        ("biosemi32:0", ">= 1"),
        ("biosemi32:33", "<= 32"),
        ("paper:3", "'paper' is a set"),
    ],
)
def test_what_no_montage_has_is_an_error_that_lists_what_there_is(rng, text, message):
    with pytest.raises(ValueError, match=message):
        choose_channels(text, rng)


@pytest.mark.parametrize("montage", [m for m in mne.channels.get_builtin_montages() if not m.startswith("artinis")])
def test_every_montage_of_electrodes_fits_the_head(montage):
    cap = make_cap(montage)
    assert 0.9 < cap.scale < 1.2
    assert np.isfinite(cap.leadfield).all()
    own = np.linalg.norm(cap.places - cap.middle, axis=1)
    assert own.std() < 0.1 * own.mean()
    assert cap.ch_names[cap.n_channels :] == REFERENCE_SITES


def test_a_cap_is_made_once():
    assert make_cap("biosemi32") is make_cap("biosemi32")


def test_potentials_of_an_upright_dipole_are_largest_above_it():
    cap = make_cap("biosemi128")
    for site in ("Oz", "C3", "Fz"):
        dipole = cap.nearest_dipole(site_direction(site))
        field = cap.topography(dipole, upright(cap, dipole))[: cap.n_channels]
        nearest = (cap.directions[: cap.n_channels] @ cap.dipoles[dipole]).argmax()
        assert field.argmax() == nearest
        assert np.abs(field - field.mean()).max() == pytest.approx(1)  # this cap is the one that is measured with


def test_turning_a_dipole_turns_its_potentials():
    cap = make_cap("biosemi32")
    field = cap.topography(7, np.array([0.6, 0.0, 0.8]))
    assert cap.topography(7, np.array([-0.6, 0.0, -0.8])) == pytest.approx(-field)


def test_potentials_of_an_upright_dipole_fall_with_the_angle_alone():
    cap = make_cap("standard_1005")
    for dipole in (0, 50, 200):
        field = cap.topography(dipole, upright(cap, dipole))
        cosine = cap.directions @ upright(cap, dipole)
        order = np.argsort(cosine)
        assert (np.diff(field[order]) > -1e-3).all()
        assert field.max() > 0 > field.min()


def test_places_of_dipoles_are_within_the_head_of_the_montage():
    cap = make_cap("standard_1005")
    places = np.array([cap.place_of(number) for number in range(len(cap.dipoles))])
    assert np.linalg.norm(places - cap.middle, axis=1).max() < 0.9 * HEAD_RADIUS * cap.scale
    for number in (0, 100, 400):
        assert cap.nearest_dipole((np.round(places[number], 5) - cap.middle) / cap.scale) == number


def test_eyes_are_seen_in_front_with_their_signs():
    cap = make_cap("standard_1005")
    at = {name: cap.ch_names.index(name) for name in ("Fp1", "Fp2", "F3", "Cz", "O1", "F7", "F8")}
    blinks, looks = ({name: field[place] for name, place in at.items()} for field in (cap.blinks, cap.saccades))
    assert blinks["Fp1"] == pytest.approx(1)
    assert blinks["Fp1"] > 1.5 * blinks["F3"] > 2 * blinks["Cz"] > 2 * blinks["O1"]
    assert looks["F8"] == pytest.approx(1)
    assert looks["F7"] == pytest.approx(-1, abs=0.1)
    assert abs(looks["O1"]) < 0.1


def test_muscles_are_seen_where_they_are():
    cap = make_cap("biosemi64")
    assert cap.ch_names[cap.muscles[:, 0].argmax()] == "T7"
    assert cap.muscles.max() <= 1
