"""The HTTP endpoint for signups: ``python -m izin.producers``."""
