"""The order stage: consent events in, the desired state out, a batch at a time and exactly once.

    engine/      the worker process: Faust, transport, assignments, watchdogs, metrics
    order        what a batch of events writes: the one place where records become decisions
    ownership/   a partition fenced, caught up, committed
    fast_path/   simple events, decided on their bytes
    guard        admission, and what becomes a dead letter     budget   how many may
    state/       the desired state of a partition              errors   what stops a worker

Each imports only what is below it. ``python -m izin.streams`` runs a worker.
"""

__all__: tuple[str, ...] = ()
