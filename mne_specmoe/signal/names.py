"""Names of channels: what files add to them, and the electrodes that have two."""

import re

NEWER_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
"""Electrodes of the 10-20 system whose names the 10-10 system changed, from the older name to the newer one."""

OLDER_NAMES = {newer: older for older, newer in NEWER_NAMES.items()}
"""The same, from the newer name to the older one."""

_DECORATION = re.compile(r"^EEG[ _-]+|[ _-]+(REF|LE|AR|AVG|A1|A2|M1|M2)$|\.+$")


def plain_name(name: str) -> str:
    """A channel name in capitals, without what EDF files add to it.

    Examples
    --------
    >>> plain_name("EEG Fp1-REF"), plain_name("Fc5.")
    ('FP1', 'FC5')
    """
    plain = name.strip().upper()
    while (shorter := _DECORATION.sub("", plain).strip()) not in (plain, ""):
        plain = shorter
    return plain


def site_name(name: str) -> str:
    """A channel name as the 10-20 system of 1958 has it: T3 for T7, T5 for P7, and so on."""
    plain = plain_name(name)
    return OLDER_NAMES.get(plain, plain)
