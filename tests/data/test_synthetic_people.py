"""Made-up people are drawn from a seed, within what people are like, and their EEG shows what was drawn."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import coherence, csd, hilbert, welch

from mne_specmoe.data.caps import CapChoice, channel_sites, choose_channels, make_cap
from mne_specmoe.data.preprocessing import TEN_TWENTY_19
from mne_specmoe.data.synthetic_labels import Dipole, Event, Rhythm
from mne_specmoe.data.synthetic_people import draw_person
from mne_specmoe.data.synthetic_signals import make_raw, make_signals, reference_matrix

SFREQ = 200.0
PAPER = CapChoice("standard_1020", TEN_TWENTY_19)


def person(seed: int = 0, choice: CapChoice = PAPER, seconds: float = 60.0):
    cap = make_cap(choice.montage)
    return draw_person(
        np.random.default_rng(seed), f"S{seed}", cap, choice, n_times=round(seconds * SFREQ), sfreq=SFREQ
    )


def quiet(seconds: float = 120.0, **changes):
    """A person with a faint background and nothing else but what is asked for."""
    nothing = {"rhythms": (), "spikes": (), "spike_source": None, "blinks": (), "saccades": (), "gain": 1.0}
    levels = {"background_uv": 0.1, "line_uv": 1e-6, "noise_uv": 0.01, "drift_uv": 1e-6, "reference": "linked ears"}
    empty = {"muscles": ((),) * 8, "n_times": round(seconds * SFREQ)}
    return replace(person(), **(nothing | levels | empty | changes))


def signals(someone, seed: int = 0) -> np.ndarray:
    return make_signals(someone, np.random.default_rng(seed))


def at(name: str) -> int:
    return TEN_TWENTY_19.index(name)


def dipole(site: str, amplitude_uv: float = 20.0, coupling: float = 1.0, lag_s: float = 0.0) -> Dipole:
    cap = make_cap("standard_1020")
    number = cap.nearest_dipole(cap.directions[cap.ch_names.index(site)])
    upright = cap.dipoles[number] / np.linalg.norm(cap.dipoles[number])
    return Dipole(tuple(cap.place_of(number)), tuple(upright), amplitude_uv, coupling, lag_s)


def rhythm(*dipoles, seconds: float = 120.0, **changes) -> Rhythm:
    always = (Event(0.0, seconds, 1.0),)
    given = {"frequency_hz": 10.0, "bandwidth_hz": 1.0, "harmonic": 0.0, "base": 1.0, "bursts": (), "states": always}
    return Rhythm("alpha", dipoles=dipoles, **(given | changes))


def test_the_same_seed_draws_the_same_person():
    assert person(3) == person(3)
    assert person(3) != person(4)


def test_people_differ_and_stay_within_bounds():
    people = [person(seed) for seed in range(60)]
    assert {each.reference for each in people} >= {"average", "linked ears", "nose"}
    assert 0.5 <= min(each.exponent for each in people) < 1.2 < 1.7 < max(each.exponent for each in people) <= 2.4
    alphas = [each.frequency_hz for someone in people for each in someone.rhythms if each.kind == "alpha"]
    assert 45 < len(alphas) < 60
    assert 7.5 <= min(alphas) < 9.5 < 10.5 < max(alphas) <= 13
    assert 0 < sum(each.spike_source is not None for each in people) < 20


def test_events_are_in_order_and_states_without_gaps():
    for seed in range(10):
        someone = person(seed)
        assert [event.start_s for event in someone.blinks] == sorted(event.start_s for event in someone.blinks)
        for each in someone.rhythms:
            starts, stops = ([getattr(state, name) for state in each.states] for name in ("start_s", "stop_s"))
            assert starts[0] == 0
            assert stops[-1] == 60
            assert starts[1:] == stops[:-1]


@pytest.mark.parametrize("channels", [("Cz", "Fpz", "A1", "A2"), ("FCz", "O1")])
def test_no_channel_is_silenced_by_the_reference(channels):
    choice = CapChoice("standard_1005", channels)
    for seed in range(12):
        uv = signals(person(seed, choice, seconds=5))
        assert uv.std(1).min() > 0.5


def test_a_choice_by_an_old_name_is_the_place_of_the_new_one():
    assert channel_sites(make_cap("biosemi64"), ("T3", "Cz")) == ["T7", "Cz"]


def test_references_take_out_what_they_are():
    cap = make_cap("standard_1020")
    average, ears, nose = (
        reference_matrix(cap, replace(person(), reference=each)) for each in ("average", "linked ears", "nose")
    )
    everywhere = np.ones(len(cap.ch_names))
    for matrix in (average, ears, nose):
        assert matrix @ everywhere == pytest.approx(0, abs=1e-9)
    assert average.sum(0) == pytest.approx(0, abs=1e-9)
    assert ears[:, -6:-4] == pytest.approx(-0.5)  # A1, A2
    assert nose[:, -1] == pytest.approx(-1)


def test_the_background_has_its_exponent_and_its_amplitude():
    for exponent in (0.8, 2.0):
        someone = quiet(background_uv=10.0, exponent=exponent, knee_hz=0.0, exponent_difference=0.0)
        uv = signals(replace(someone, reference="average"))
        frequencies, power = welch(uv, SFREQ, nperseg=400)
        fitted = (frequencies >= 2) & (frequencies <= 60)
        found = -np.polyfit(np.log(frequencies[fitted]), np.log(power.mean(0)[fitted]), 1)[0]
        assert found == pytest.approx(exponent, abs=0.1)
        fast = np.fft.rfft(uv)
        fast[:, : round(0.5 * 120)] = 0
        assert np.fft.irfft(fast).std() == pytest.approx(10, rel=0.35)  # of 19 places of 90


def test_front_and_back_differ_by_the_difference_of_exponents():
    someone = quiet(background_uv=10.0, exponent=1.5, exponent_difference=0.8, knee_hz=0.0)
    frequencies, power = welch(signals(someone), SFREQ, nperseg=400)
    fitted = (frequencies >= 2) & (frequencies <= 60)
    slopes = -np.polyfit(np.log(frequencies[fitted]), np.log(power.T[fitted]), 1)[0]
    difference = slopes[[at("Fp1"), at("Fp2")]].mean() - slopes[[at("O1"), at("O2")]].mean()
    assert 0.2 < difference < 0.8


def test_neighbours_are_more_alike_than_others():
    uv = signals(quiet(background_uv=10.0))
    alike = np.corrcoef(uv)
    assert alike[at("C3"), at("P3")] > alike[at("C3"), at("O2")] + 0.1


def test_a_rhythm_has_its_frequency_place_and_amplitude():
    uv = signals(quiet(rhythms=(rhythm(dipole("O1")),), reference="average"))
    frequencies, power = welch(uv, SFREQ, nperseg=400)
    assert frequencies[power[at("O1")].argmax()] == pytest.approx(10, abs=0.5)
    assert uv.std(1).argmax() == at("O1")
    assert uv[at("O1")].std() == pytest.approx(20, rel=0.35)


def test_bursts_are_when_they_are_said_to_be():
    bursts = (Event(10.0, 12.0, 1.0), Event(50.0, 53.0, 1.0))
    uv = signals(quiet(60.0, rhythms=(rhythm(dipole("O1"), seconds=60.0, base=0.0, bursts=bursts),)))[at("O1")]
    power = np.array([second.var() for second in uv.reshape(60, -1)])
    loud = set(np.flatnonzero(power > 20 * np.median(power)))
    assert loud <= {10, 11, 50, 51, 52}
    assert {10, 11} & loud
    assert {51} & loud


def test_states_change_the_strength():
    states = (Event(0.0, 60.0, 1.0), Event(60.0, 120.0, 4.0))
    uv = signals(quiet(rhythms=(rhythm(dipole("O1"), states=states),)))[at("O1")]
    assert uv[12_500:].std() == pytest.approx(4 * uv[:11_500].std(), rel=0.4)


def test_coupled_sources_are_coherent_with_their_lag():
    lag = 0.02
    sources = dipole("O1"), dipole("F4", coupling=0.8, lag_s=lag)
    uv = signals(quiet(400.0, rhythms=(rhythm(*sources, seconds=400.0, bandwidth_hz=2.0),)))[[at("O1"), at("F4")]]
    frequencies, cross = csd(*uv, SFREQ, nperseg=400)
    peak = np.abs(frequencies - 10).argmin()
    assert -np.angle(cross[peak]) / (2 * np.pi * 10) == pytest.approx(lag, abs=0.006)
    assert coherence(*uv, SFREQ, nperseg=400)[1][peak] == pytest.approx(0.8, abs=0.15)


def test_a_gain_is_a_factor_of_everything():
    someone = person(1, seconds=5)
    louder = replace(someone, gain=2 * someone.gain)
    assert signals(louder) == pytest.approx(2 * signals(someone))


def test_blinks_are_at_the_front_at_their_times_with_their_size():
    uv = signals(quiet(20.0, blinks=(Event(5.0, 5.4, 100.0), Event(12.0, 12.3, 50.0))))
    assert uv[at("Fp1")].argmax() / SFREQ == pytest.approx(5.15, abs=0.1)
    assert uv[at("Fp1")].max() == pytest.approx(100, rel=0.1)
    assert np.abs(uv[at("O1")]).max() < 15
    assert uv[at("Fp1"), 2400:2460].max() == pytest.approx(50, rel=0.1)


def test_spikes_muscles_and_saccades_are_where_they_are_said_to_be():
    muscles = ((Event(2.0, 4.0, 20.0),), *((),) * 7)
    someone = quiet(
        20.0,
        spike_source=dipole("C4", 1.0),
        spikes=(Event(10.0, 10.3, 90.0),),
        saccades=(Event(15.0, 16.0, -30.0),),
        muscles=muscles,
    )
    uv = signals(someone)
    assert np.abs(uv[:, 2000:2020]).max(1).argmax() == at("C4")
    assert uv[:, 500:700].std(1).argmax() == at("T3")
    assert uv[at("F8"), 3050:3150].mean() < -20
    assert uv[at("F7"), 3050:3150].mean() > 20


def test_mains_are_in_every_channel():
    uv = signals(quiet(20.0, line_uv=5.0, line_hz=60.0))
    amplitude = np.abs(hilbert(uv)).mean(1)
    assert amplitude.min() > 1
    assert amplitude.std() > 0.3  # not the same everywhere
    frequencies, power = welch(uv, SFREQ, nperseg=400)
    assert frequencies[power.mean(0).argmax()] == 60


def test_a_raw_is_in_volts_with_the_places_of_the_electrodes():
    someone = person(2, choose_channels("GSN-HydroCel-32", np.random.default_rng(0)), seconds=5)
    raw = make_raw(someone, np.random.default_rng(5))
    assert raw.get_data() == pytest.approx(1e-6 * signals(someone, 5))
    places = np.array([channel["loc"][:3] for channel in raw.info["chs"]])
    assert places == pytest.approx(make_cap("GSN-HydroCel-32").places, abs=1e-6)


def test_amplitudes_are_those_of_eeg():
    spread = [np.median(signals(person(seed, seconds=20), seed).std(1)) for seed in range(12)]
    assert 8 < np.median(spread) < 30
    assert min(spread) > 2
