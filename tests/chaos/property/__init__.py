"""Generated histories of one key, each against the property that no opt-out is hidden."""
