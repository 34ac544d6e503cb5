"""What every process needs: settings, Kafka clients, the schema registry, logs.

settings    the only reader of the environment     registry    ids and schemas
kafka       clients, and the check of topics        observe     logs, masked
"""

__all__: tuple[str, ...] = ()
