"""Erasure of what the ledger has of a person, and an export of it (6698 m.7, m.11)."""
