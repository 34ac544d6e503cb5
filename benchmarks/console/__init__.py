"""Benchmarks of the console: its screens over a large ledger, their plans, and who watches them."""
