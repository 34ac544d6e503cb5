"""The gate: how fast it starts, and how fast it answers."""
