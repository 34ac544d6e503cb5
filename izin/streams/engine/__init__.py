"""The worker process: Faust's app, the batch transport, assignments, watchdogs, metrics.

app         assembles Faust and the worker    worker     which partitions are ours, whose turn it is
transport   one Faust message a batch         gate       which lanes are fetched, and in batches
unpacking   records of a fetch                watches    end what hangs; lag, and metrics

partition_processor acquires one partition and decides its batches.
"""
