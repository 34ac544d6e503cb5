"""Faults under which each movement of a citizen must reach the history, once."""
