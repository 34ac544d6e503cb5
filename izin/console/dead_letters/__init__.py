"""``izin dead-letters``: list and acknowledge records that could not be processed."""
