"""Posts events to subscribers: signed, in order of each recipient, until each is acknowledged."""
