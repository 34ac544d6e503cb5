"""The contracts: what is written to which topic, in which bytes, to which partition.

    contracts       Avro, current and past     topics          names, settings, owners
    codec           two framings               partitioning    the partition of a key
    records         the law's values, and CloudEvents headers
    timestamps      RFC 3161, verified
    fast/           what exists for speed      generated/      written by ``make docs``

``avro/`` has the current schemas, ``versions/`` each one that was published, ``examples/`` an
example of each.
"""

__all__: tuple[str, ...] = ()
