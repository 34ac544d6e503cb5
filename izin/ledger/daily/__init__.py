"""İYS's daily files in the ledger: how far each is, its lines, and their erasure."""
