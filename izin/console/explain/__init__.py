"""``izin explain``: everything that is known of one recipient."""
