"""``izin report``: figures over a time, from the ledger."""
