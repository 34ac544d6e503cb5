"""The ledger: what is desired, what is registered, what is owed, and everything that happened."""
