"""Rebuild the ledger and the permissions: from the history, and from the ledger."""
