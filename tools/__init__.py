"""What generates documentation and code from contracts, and what judges mutation testing.

Outside the package ``izin`` and its wheel: nothing of the product imports it.
"""
