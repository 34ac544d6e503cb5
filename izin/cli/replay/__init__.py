"""``izin replay``: play history again from a plan, which is a dry run before it is executed."""
