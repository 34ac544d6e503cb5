"""Fields of a source read as a consent event: names, dates, numbers, violations."""
