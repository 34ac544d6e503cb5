"""Machinery that tests of several packages share."""
