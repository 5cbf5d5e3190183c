import re
import warnings

import numpy as np
import pytest
import torch

from mne_specmoe._validation import SpecMoEWarning
from mne_specmoe.models.brainrvq.channels import (
    CHANNELS,
    CLS_ROW,
    N_ROWS,
    UNNAMED,
    UntrainedChannelWarning,
    channel_rows,
    unnamed_rows,
)

STANDARD_19 = "FP1 FP2 F7 F3 FZ F4 F8 T7 C3 CZ C4 T8 P7 P3 PZ P4 P8 O1 O2".split()
STANDARD_19_ROWS = [0, 1, 3, 16, 18, 20, 22, 24, 38, 40, 42, 44, 46, 60, 62, 64, 66, 68, 81, 83]
OLD_NAMES = {"T3": 89, "T4": 91, "T5": 90, "T6": 92}
NEW_NAMES = {"T7": 38, "T8": 46, "P7": 60, "P8": 68}
PLACES = {
    "Fp1": (-0.03, 0.08, 0.0),
    "Cz": (0.0, 0.0, 0.1),
    "T7": (-0.085, 0.0, 0.0),
    "T3": (-0.085, 0.0, 0.0),
    "Oz": (0.0, -0.09, 0.0),
    "AFF5h": (0.0, 0.05, 0.05),
    "FT7": (np.nan, np.nan, np.nan),
}


def rows_of(*names: str, **options) -> list[int]:
    return channel_rows(names, **options).rows.tolist()[1:]


def trained_on(*rows: int) -> torch.Tensor:
    flags = torch.zeros(N_ROWS, dtype=torch.bool)
    flags[list(rows)] = True
    return flags


# The table


def test_there_are_136_names_at_the_places_of_the_published_list():
    assert len(CHANNELS) == len(set(CHANNELS)) == 136
    starts = {0: "FP1", 10: "AF4", 20: "F2", 30: "FCZ", 40: "C1", 50: "CP3", 60: "P5", 70: "PO7", 80: "O1", 90: "T4"}
    starts |= {100: "CFC5", 110: "CCP7", 120: "FP1-F7", 127: "P8-O2", 128: "FP1-F3", 130: "C3-P3", 135: "P4-O2"}
    assert {i: CHANNELS[i] for i in starts} == starts


def test_check_values_of_the_published_system():
    assert channel_rows(["FP1", "C3", "CZ", "O2"]).rows.tolist() == [0, 1, 40, 42, 83]
    assert channel_rows(STANDARD_19).rows.tolist() == STANDARD_19_ROWS


def test_every_name_that_fits_the_table_has_the_row_after_its_index():
    found = channel_rows(CHANNELS[:128])
    assert found.rows.tolist() == [CLS_ROW, *range(1, 129)]
    assert found.rows.dtype == torch.int64
    assert found.used == CHANNELS[:128]
    assert found.unknown == found.untrained == ()


def test_names_may_repeat_and_keep_their_order():
    assert rows_of("O2", "FP1", "FP1", "C3") == [83, 1, 1, 40]


def test_channels_without_names_have_no_row_of_the_table():
    assert unnamed_rows(3).tolist() == [CLS_ROW, UNNAMED, UNNAMED, UNNAMED]
    assert UNNAMED not in range(N_ROWS)


# Spellings


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("fp1", "FP1"),
        ("Fpz", "FPZ"),
        ("FTT9h", "FTT9h"),
        ("ftt9H", "FTT9h"),
        ("TPP10H", "TPP10h"),
        ("EEG FP1-REF", "FP1"),
        ("EEG Fp1", "FP1"),
        ("Fp1-LE", "FP1"),
        ("C3-A2", "C3"),
        ("Fc5.", "FC5"),
        (" Cz ", "CZ"),
        ("EEG A1-REF", "A1"),
        ("M2", "M2"),
        ("FP1-F7", "FP1-F7"),
        ("EEG fp1-f7", "FP1-F7"),
        ("T8-P8", "T8-P8"),
    ],
)
def test_case_and_decorations_do_not_matter(name, used):
    found = channel_rows([name])
    assert found.used == (used,)
    assert found.rows.tolist() == [0, CHANNELS.index(used) + 1]
    assert found.unknown == ()


# The two names of four electrodes


def test_old_and_new_names_are_different_rows_as_published():
    for name, row in (OLD_NAMES | NEW_NAMES).items():
        assert rows_of(name) == [row]


@pytest.mark.parametrize(("old", "new"), [("T3", "T7"), ("T4", "T8"), ("T5", "P7"), ("T6", "P8")])
def test_with_aliases_both_names_are_one_electrode(old, new):
    assert rows_of(old, new, aliases="10-20") == [OLD_NAMES[old]] * 2
    cases = [
        (trained_on(OLD_NAMES[old]), OLD_NAMES[old]),
        (trained_on(NEW_NAMES[new]), NEW_NAMES[new]),
        (trained_on(OLD_NAMES[old], NEW_NAMES[new]), OLD_NAMES[old]),
    ]
    for trained, row in cases:
        found = channel_rows([old, new, f"EEG {new.lower()}-REF"], aliases="10-20", trained=trained)
        assert found.rows.tolist() == [0, row, row, row]
        assert found.untrained == ()


def test_aliases_leave_other_names_alone():
    others = [name for name in CHANNELS[:128] if not set(name.split("-")) & (OLD_NAMES.keys() | NEW_NAMES.keys())]
    assert rows_of(*others, aliases="10-20") == rows_of(*others)


def test_aliases_hold_for_the_parts_of_bipolar_channels():
    assert rows_of("F7-T3", "T3-T5", "T5-O1", "T4-P8", aliases="10-20") == rows_of("F7-T7", "T7-P7", "P7-O1", "T8-P8")
    with pytest.raises(ValueError, match="bipolar channels 'F7-T3'.*aliases='10-20'"):
        channel_rows(["F7-T3"])


# Names that the table lacks


@pytest.mark.parametrize("name", [*CHANNELS[128:], "EEG FP1-F3", "Fp1-Cz", "C3-T3"])
def test_bipolar_channels_beyond_the_table_are_explained(name):
    message = f"no row for the bipolar channels '{name}'.*'FP1-F7'.*common reference"
    with pytest.raises(ValueError, match=message):
        channel_rows(["C3", name])
    with pytest.raises(ValueError, match=message):
        channel_rows(["C3", name], on_unknown="nearest", locations=torch.zeros(2, 3), positions=PLACES)


def test_sites_of_a_biosemi_cap_are_no_electrodes_of_the_same_name():
    assert rows_of("A1", "C3", "Cz") == rows_of("A1", "C3", "Cz", aliases="10-20")
    with pytest.raises(ValueError, match="no row for 3 of the 4 channels: 'A1'.*'A3'.*'C3'"):
        channel_rows(["A1", "A3", "C3", "Fp1"])
    locations = np.array([PLACES["Cz"], PLACES["Oz"], PLACES["T7"], (np.nan,) * 3])
    found = channel_rows(["A1", "A3", "C3", "Fp1"], on_unknown="nearest", locations=locations, positions=PLACES)
    assert found.used == ("CZ", "OZ", "T7", "FP1")


def test_unknown_names_are_listed_with_the_nearest_spellings():
    with pytest.raises(ValueError, match="no row for 3 of the 4 channels") as caught:
        channel_rows(["C3", "EEG FTT9-REF", "POL E", "T8-P8-0"])
    message = str(caught.value)
    assert re.search(r"'EEG FTT9-REF' \(similar: .*'FTT9h'", message)
    assert re.search(r"'POL E' \(similar: none\)", message)
    assert re.search(r"'T8-P8-0' \(similar: 'T8-P8'", message)
    assert "'C3'" not in message
    assert "on_unknown='nearest'" in message


def test_unknown_names_get_the_row_of_the_nearest_electrode():
    locations = np.array([(0.001, 0.0, 0.09), (0.0, -0.08, 0.03), (np.nan,) * 3, (0.0, 0.03, 0.07)])
    found = channel_rows(
        ["E55", "E75", "C3", "EEG E8"], on_unknown="nearest", locations=torch.from_numpy(locations), positions=PLACES
    )
    assert found[1:] == (("CZ", "OZ", "C3", "CZ"), ("E55", "E75", "EEG E8"), ())
    assert found.rows.tolist() == [0, 42, 82, 40, 42]


def test_nearest_electrodes_are_trained_ones_if_any_are():
    options = {"on_unknown": "nearest", "locations": torch.tensor([[0.0, 0.03, 0.08]]), "positions": PLACES}
    assert channel_rows(["E55"], **options).used == ("CZ",)
    assert channel_rows(["E55"], trained=trained_on(1, 25), **options).used == ("FP1",)
    with pytest.warns(UntrainedChannelWarning, match="'E55'"):
        assert channel_rows(["E55"], trained=trained_on(25), **options).used == ("CZ",)


def test_nearest_electrodes_follow_the_aliases():
    options = {"on_unknown": "nearest", "locations": torch.tensor([[-0.08, 0.0, 0.0]]), "positions": PLACES}
    assert channel_rows(["E39"], **options).used == ("T7",)
    assert channel_rows(["E39"], aliases="10-20", **options).used == ("T3",)
    assert channel_rows(["E39"], trained=trained_on(89, 1), **options).used == ("T3",)


@pytest.mark.parametrize("place", [(np.nan, 0.0, 0.0), (0.0, 0.0, 90.0)])
def test_unknown_names_without_a_place_among_the_electrodes_are_refused(place):
    locations = np.array([place, (0.0, 0.0, 0.09)])
    with pytest.raises(ValueError, match="'E55' have no row.*not in metres"):
        channel_rows(["E55", "E56"], on_unknown="nearest", locations=locations, positions=PLACES)


def test_positions_need_an_electrode_of_the_table():
    options = {"on_unknown": "nearest", "locations": np.zeros((1, 3))}
    for positions in ({}, {"E1": (0, 0, 0)}, {"Cz": (np.nan, 0, 0)}):
        with pytest.raises(ValueError, match="positions has no electrode"):
            channel_rows(["E55"], positions=positions, **options)
    with pytest.raises(ValueError, match="three numbers in metres per name; those of 'CZ'"):
        channel_rows(["E55"], positions={"Cz": (0, 0)}, **options)


# Rows that a checkpoint was never trained on


def test_untrained_rows_are_warned_of_and_named():
    trained = trained_on(*STANDARD_19_ROWS[1:])  # not the class token's, as published
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert channel_rows(STANDARD_19, trained=trained).untrained == ()
    with pytest.warns(UntrainedChannelWarning, match=r"2 of the 3 channels: 'Poz', 'T3'.*aliases") as caught:
        found = channel_rows(["Poz", "C3", "T3"], trained=trained)
    assert found.untrained == ("Poz", "T3")
    assert caught[0].filename == __file__
    assert issubclass(UntrainedChannelWarning, SpecMoEWarning)


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aliases": "1958"}, "aliases='1958' is not known; allowed: 'none', '10-20'"),
        ({"on_unknown": "skip"}, "on_unknown='skip' is not known"),
        ({"on_unknown": "nearest"}, "needs the channels' locations and the electrodes' positions"),
        ({"on_unknown": "nearest", "positions": PLACES}, "needs the channels' locations"),
        ({"trained": torch.ones(128, dtype=torch.bool)}, r"trained must be bool of shape \(129,\), got .* \(128,\)"),
        ({"trained": torch.ones(129)}, "trained must be bool .* torch.float32"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        channel_rows(["C3"], **options)


def test_wrong_names_and_locations_are_refused():
    with pytest.raises(TypeError, match=r"got the string 'FP1'; pass \['FP1'\]"):
        channel_rows("FP1")
    with pytest.raises(ValueError, match="at least one channel"):
        channel_rows([])
    with pytest.raises(ValueError, match="locations must be .* 2 channels, got"):
        channel_rows(["C3", "E1"], on_unknown="nearest", locations=torch.zeros(1, 3), positions=PLACES)
