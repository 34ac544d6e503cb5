"""Generate documentation and code from contracts, and check the result of mutation testing.

Outside the package ``izin`` and its wheel: nothing of the product imports it.
"""
