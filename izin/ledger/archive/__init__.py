"""The archive of the history: its rows in files outside the ledger, verifiable without it."""
