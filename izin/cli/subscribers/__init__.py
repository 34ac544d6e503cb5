"""``izin subscribers``: systems to which events are posted."""
