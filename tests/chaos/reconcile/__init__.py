"""Installations in which history is played again."""
