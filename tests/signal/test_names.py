import pytest

from mne_specmoe.signal.names import NEWER_NAMES, OLDER_NAMES, plain_name, site_name


@pytest.mark.parametrize("form", ["{}", " {} ", "EEG {}-REF", "EEG-{}-LE", "eeg_{}_avg", "{}..", "EEG {}-A1-REF"])
def test_what_files_add_to_names_is_taken_away(form):
    for name in ("Fp1", "T3", "CZ", "PO10"):
        assert plain_name(form.format(name)) == name.upper()


@pytest.mark.parametrize(
    ("name", "plain"),
    [("", ""), ("EEG", "EEG"), ("..", ".."), ("A2-A1", "A2"), ("FP1-F7", "FP1-F7"), ("EOG left", "EOG LEFT")],
)
def test_names_are_not_cleaned_away(name, plain):
    assert plain_name(name) == plain


def test_four_electrodes_have_two_names():
    assert set(NEWER_NAMES) == {"T3", "T4", "T5", "T6"}
    for older, newer in NEWER_NAMES.items():
        assert OLDER_NAMES[newer] == older
        assert site_name(f"EEG {newer.lower()}-REF") == site_name(older) == older
    assert site_name("P3") == "P3"
