"""Ends of transactions whose answers are lost, and that the broker gets late."""
