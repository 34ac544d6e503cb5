"""What exists only for speed: each module repeats a general path, and a test holds the two equal.

    reader           Avro bytes to values, without fastavro          codec.decode
    writer           values to Avro bytes, without fastavro          codec.encode
    decision_writer  a Decision around bytes that are there already  codec.encode
                     CloudEvents headers from templates              records.headers
    cache            the bounded cache of all of these

``docs/fast-path.md`` says what each of them saves.
"""

from typing import Final

from izin.schemas.fast import cache

__all__ = ("BUILD", "TO_COMPILE")

BUILD: Final = "interpreted" if cache.__file__.endswith(".py") else "compiled"
"""How the hot path runs; compiled in a wheel that was built so (``IZIN_COMPILE=1``)."""

TO_COMPILE: Final = (
    "make wheel in a checkout of izin, then pip install --force-reinstall --no-deps dist/izin-*.whl"
)
"""How an installation gets it compiled."""
