"""What every process needs: settings, Kafka clients, the schema registry, logs.

settings            the only reader of the environment
observe             structured logs with recipients masked
kafka, topic_admin  clients; topics created, repaired and checked
broker_watch        whether Kafka answers
registry            the codec, with ``registry_client`` where a schema registry is set
task_cancellation, daemon_thread, gc_tuning, errors
"""

__all__: tuple[str, ...] = ()
