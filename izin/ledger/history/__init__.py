"""The append-only, hash-chained history of movements."""
