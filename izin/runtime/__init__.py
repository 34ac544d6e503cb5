"""What every process needs: settings, Kafka clients, the schema registry, logs.

settings            the only reader of the environment
observe             structured logs, recipients masked, repetitions counted (``repeated_logs``)
kafka_clients       clients of Kafka; ``kafka``: those of this installation
topic_admin         topics created, repaired and checked
answer_watch        whether a server answers; ``broker_watch`` asks Kafka
http_server         HTTP servers that shed what is too much
registry            the codec, with ``registry_client`` where a schema registry is set
task_cancellation, daemon_thread, gc_tuning, errors
"""

__all__: tuple[str, ...] = ()
