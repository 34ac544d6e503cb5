"""Rows that change alike: one is ruled in full, the others are written as that one.

alike    what rows share, and what they make of the one that was ruled     saving    writes them
"""
