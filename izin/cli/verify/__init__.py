"""``izin verify``: check that any order of the same events gives the same state."""
