"""``izin explain``: all records of one recipient."""
