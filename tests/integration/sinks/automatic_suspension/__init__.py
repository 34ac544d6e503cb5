"""Opt-outs of which registering waits for a person."""
