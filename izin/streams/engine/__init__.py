"""The worker process: Faust's app, the batch transport, assignments, watchdogs, metrics.

app        assembles Faust and the worker     worker    which partitions are ours
transport  one Faust message a batch          gate      which lanes are fetched, and from where
fetching   what is used of aiokafka           turns     whose bulk is folded next
unpacking  records of a fetch                 batch     what one fetch brought of a partition
connecting waits for a broker at the start
watchdog   ends a process that hangs          ending    ends in time on SIGTERM
metrics    Prometheus

partition_processor acquires one partition and decides its batches.
"""
