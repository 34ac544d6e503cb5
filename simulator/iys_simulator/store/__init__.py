"""What the simulator keeps, in SQLite: movements, batches, accounts, tokens, retailers."""
