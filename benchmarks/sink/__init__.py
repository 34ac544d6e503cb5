"""The sink on a large ledger and at İYS's request limit."""
