"""When processes that work through batches look for garbage."""

from __future__ import annotations

import gc

_AFTER = 200_000


def collect_seldom() -> None:
    """Look for garbage seldom, from now on, and never among what lives already.

    A batch makes some hundred thousand objects, none of them in a circle; the default would walk
    through all that live a hundred times a batch, and each walk holds everything up.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_AFTER, 20, 20)
