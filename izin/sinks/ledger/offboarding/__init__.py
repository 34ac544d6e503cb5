"""The end of a customer: what waits is withdrawn, what is theirs is handed over, the rest ends."""
