"""What every process needs: settings, Kafka clients, the schema registry, logs.

settings            the only reader of the environment
logs                structured logs, recipients masked, repetitions counted
kafka               clients of Kafka and the codec of this installation
kafka_environment   the same for the libraries, by arguments or variables
kafka_clients, registry_client, broker_faults, plain_log: what both are made of
plan                plan, then execute: the file, what it relies on, and its progress
topic_admin         topics created, repaired and checked; their ids and groups
broker_watch        whether a server answers, such as Kafka
http_server         HTTP servers that shed what is too much
process, backoff, errors
"""

__all__: tuple[str, ...] = ()
