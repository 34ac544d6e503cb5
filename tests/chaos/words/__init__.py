"""Generated names and words: no consent is invented, and no opt-out is lost."""
