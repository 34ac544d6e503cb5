"""The worker process: Faust's app, the batch transport, assignments, watchdogs, metrics.

app        assembles Faust and the worker     worker    which partitions are ours, whose turn it is
transport  one Faust message a batch          gate      which lanes are fetched, and from where
connecting waits for a broker at the start    batch     what one fetch brought of a partition
unpacking  records of a fetch                 watchdog  ends a process that hangs, or is to end
metrics    Prometheus

partition_processor acquires one partition and decides its batches.
"""
