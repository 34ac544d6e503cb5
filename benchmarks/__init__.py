"""Benchmarks: every figure that the project claims, measured in one run with the machine named.

Outside the package ``izin`` and its wheel: nothing of the product imports it. Run it with
``make bench`` or ``python -m benchmarks NAME``; ``bars`` is the table of figures.
"""

from pathlib import Path

__all__ = ("ROOT",)

ROOT = Path(__file__).parents[1]
"""The folder from which ``benchmarks`` is imported; processes of a benchmark are started in it."""
