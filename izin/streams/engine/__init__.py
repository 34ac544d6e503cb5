"""The worker process: Faust's app, the batch transport, assignments, watchdogs, metrics.

app         assembles Faust and the worker    worker     which partitions are ours, whose turn it is
transport   one Faust message a batch         gate       which lanes are fetched, and in batches
connecting  waits for a broker at the start   unpacking  records of a fetch
lane_watch  lag and metrics, for Prometheus   watchdog   ends a process that hangs, or is to end

partition_processor acquires one partition and decides its batches.
"""
