"""Recordings in, arrays out: the only subpackage that imports mne."""
