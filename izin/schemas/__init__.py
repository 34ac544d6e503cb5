"""The contracts: what travels on which topic, in which bytes, on which partition.

    contracts       Avro, current and past     topics          names, settings, owners
    codec           two framings               partitioning    where a key lives
    records         the law's values           cloud_events    headers

``avro/`` holds the current schemas, ``versions/`` each one that was published, ``examples/`` a
golden record of each.
"""

__all__: tuple[str, ...] = ()
