"""``izin brands``: the brand registry, rights, suspensions and parked records."""
