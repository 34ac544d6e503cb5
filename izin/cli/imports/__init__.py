"""``izin import``: a file into Kafka, and what became of its rows."""
