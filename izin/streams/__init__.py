"""Through: from what was said to what holds true, a batch at a time and exactly once.

    transport    Faust, a batch a message     partition    fence, catch up, commit
    guard        a record, judged             worker       whose partitions, which batches
    order        a batch, folded              watchdog     a loop that stands still
    state        what holds true              metrics      what was done

``python -m izin.streams`` runs a worker.
"""

__all__: tuple[str, ...] = ()
