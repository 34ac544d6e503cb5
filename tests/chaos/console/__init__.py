"""Hostile requests to the console, with and without a session of each role."""
