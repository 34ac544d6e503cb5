"""``izin dead-letters``: records that could not be processed, and how they come back."""
