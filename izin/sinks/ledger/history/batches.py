"""Digests of batches of rows that stand outside the history: acknowledgements of webhooks.

A batch is proved by one movement, which has the number of its rows and the digest of their
commitments, in their order.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from izin.sinks.ledger.history.hash_chain import Fact

KIND = "delivery"
BATCH_KEY = "deliveries"
"""The key of these movements."""


class BatchDigest(NamedTuple):
    """What the history says of a batch."""

    rows: int
    digest: str


def digest_of(commitments: Iterable[bytes]) -> str:
    """Return the digest of a batch, in hex."""
    return hashlib.sha256(b"".join(commitments)).hexdigest()


def digest_fact(batch: int, commitments: Iterable[bytes], rows: int, at: int) -> Fact:
    """Return the movement of a batch, at ``at`` (microseconds since 1970)."""
    data = {"batch": batch, "rows": rows, "digest": digest_of(commitments)}
    source = f"{BATCH_KEY}/{batch}"
    return Fact(KIND, "", BATCH_KEY, None, None, source, at, orjson.dumps(data), None)


def batch_of(row: Mapping[str, Any]) -> tuple[int, BatchDigest] | None:
    """Return the batch that a movement proves, with its number; None: it proves none."""
    if row["kind"] != KIND or row["key"] != BATCH_KEY or row["data"] is None:
        return None
    said = json.loads(row["data"])
    return int(said["batch"]), BatchDigest(int(said["rows"]), str(said["digest"]))
