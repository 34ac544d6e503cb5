"""``izin iys daily``: İYS's files of each day, beside our own."""
