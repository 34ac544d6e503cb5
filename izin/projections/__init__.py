"""What topics say, in memory: what several processes need of it.

api_keys             who may do what at an endpoint, from ``api-keys``
brand_directory      the registered brands, from ``brands``
packed_permissions   what is known of millions of keys, in few bytes
latest_records       the latest record of each partition, from shortly before the ends
decided              which offsets of the input lanes ``order-positions`` says are decided
wakeup               waiting for a change
"""

__all__: tuple[str, ...] = ()
