"""The worker process: Faust's app, the batch transport, assignments, watchdogs, metrics.

app        assembles Faust and the worker     worker     which partitions are ours, which batches
transport  one Faust message a batch          fetching   what is used of aiokafka's internals
watchdog   ends a process that hangs          ending     ends in time on SIGTERM
metrics    Prometheus
"""
