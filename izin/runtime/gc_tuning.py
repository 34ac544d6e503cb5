"""Memory and its collection in processes that work in batches, or that answer at once."""

import ctypes
import gc

_ALLOCATIONS = 50_000
"""Of what lives on: cycles that wait for the collector. Four times as many halted a worker for 130
milliseconds every few minutes."""
_M_TRIM_THRESHOLD, _M_TOP_PAD = -1, -2
_KEPT = 256 << 20
_TAKEN_AT_ONCE = 16 << 20
"""Bytes."""


def tune_gc_for_batches() -> None:
    """Collect once, freeze what is alive, and from now on collect every 50,000 allocations.

    A full collection halts a process for a tenth of a second, whatever waits for an answer. And a
    batch makes some hundred thousand objects without reference cycles; at the default threshold the
    collector would traverse the heap a hundred times a batch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 20, 20)


def keep_memory_of_batches() -> None:
    """Keep the memory that a batch has used for the next one, where the C library is glibc.

    It would be given back after each batch and taken again page by page, which is an eighth of the
    CPU of ingest.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_TOP_PAD, _TAKEN_AT_ONCE)
