"""Through: from what was said to what holds true, a batch at a time and exactly once.

    transport    Faust, a batch a message     partition    fence, catch up, commit
    guard        a record, judged             changelog    what holds true, read back
    order        a batch, folded              worker       whose partitions, which batches
    state        what holds true, in memory   watchdog     a loop that stands still
    rocks        the same, on disk            metrics      what was done
    packing      a consent in few bytes       claim        a folder, one worker at a time
    ending       in time, whatever happens

``python -m izin.streams`` runs a worker.
"""

__all__: tuple[str, ...] = ()
