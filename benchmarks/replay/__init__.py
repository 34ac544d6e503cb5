"""Replays: what it costs to decide history again."""
