"""What every process needs: settings, Kafka clients, the schema registry, logs.

settings            the only reader of the environment
observe             structured logs, recipients masked, repetitions counted
kafka               clients of Kafka and the codec of this installation
kafka_environment   the same for the libraries, by arguments or variables
kafka_clients, registry_client, broker_faults, plain_log: what both are made of
topic_admin         topics created, repaired and checked; ``topic_identity``: their ids
plan                plan, then execute: the file, what it relies on, and its progress
answer_watch        whether a server answers; ``broker_watch`` asks Kafka
http_server         HTTP servers that shed what is too much
task_cancellation, daemon_thread, gc_tuning, errors
"""

__all__: tuple[str, ...] = ()
