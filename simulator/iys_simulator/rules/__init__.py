"""İYS's rules for consents and retailers, as pure functions."""
