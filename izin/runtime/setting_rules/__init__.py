"""What holds for every group of settings: where values come from, and what does not go together."""
