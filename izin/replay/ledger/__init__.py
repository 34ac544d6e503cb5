"""Rebuild the ledger from its history, and restore it from an archive."""
