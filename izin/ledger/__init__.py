"""The ledger: what is desired, what is registered, what is due, and everything that happened."""
