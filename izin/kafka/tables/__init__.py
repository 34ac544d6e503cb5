"""What topics say, in memory: what several processes need of it.

api_keys             who may do what at an endpoint, from ``api-keys``
brand_directory      the registered brands, from ``brands``
packed_permissions   what is known of millions of keys, in few bytes
permission_reader    records of ``permissions``, packed so
active_opt_outs      the opt-outs in force, of millions of keys
latest_records       the latest record of each partition, what ``order-positions`` and
                     ``ledger-positions`` say by it, and waiting for a change of them
"""

__all__: tuple[str, ...] = ()
