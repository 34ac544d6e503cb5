"""Every secret that the ledger must be able to read, under which key each stands, and all of them
encrypted under the first.

Each row is replaced by one statement, which changes nothing where a process has written the row
meanwhile. So processes go on, a cut-off leaves each row as it was or as it is to be, and the same
command goes on.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from izin.ledger.db import Ledger, statements
from izin.ledger.history import record_act
from izin.ledger.record import UndecryptableSecretError, key_of_secret

READABLE = "readable"
"""In place of a key's id: under none."""
_ACT, _KEY = "encrypt secrets", "secrets"
_SQL = statements("stored_secrets")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretCensus:
    """How many secrets stand under which key."""

    counts: Mapping[str, int]
    """By the key's id, or ``READABLE``."""
    faults: Sequence[str]
    """Why some cannot be decrypted here."""
    keys: Sequence[str]
    """The ids of the keys that are here, the first first."""

    @property
    def behind(self) -> Mapping[str, int]:
        """What is to be encrypted under the first key."""
        kept = {READABLE, *self.keys[1:]}
        return {key: count for key, count in self.counts.items() if count and key in kept}


async def census(ledger: Ledger) -> SecretCensus:
    """Return under which key each secret stands, and which cannot be decrypted here."""
    keys, faults = ledger.secret_keys, list[str]()
    counts = Counter(dict.fromkeys(keys.ids, 0))
    for one in await ledger.fetch(_SQL["all"]):
        for text in filter(None, (one["first"], one["second"])):
            counts[key_of_secret(text) or READABLE] += 1
            try:
                keys.decrypt(text, one["row"])
            except UndecryptableSecretError as error:
                faults.append(str(error))
    return SecretCensus(counts=counts, faults=faults, keys=keys.ids)


async def encrypt_all(
    ledger: Ledger, *, by: str, now: datetime, report: Callable[[int, int], None]
) -> None:
    """Encrypt every secret under the first key, ``by`` whose order; what cannot be decrypted stays
    as it is, and what is of no use any more is dropped. ``report`` gets how many rows are done, and
    of how many.
    """
    before, keys = await census(ledger), ledger.secret_keys
    if not before.behind:
        return
    counts, after = dict(before.counts), {"key": keys.ids[0]}
    async with ledger.transaction() as connection:
        await record_act(connection, _ACT, _KEY, by=by, now=now, before=counts, after=after)
        await connection.execute(_SQL["drop-ended"], {"now": now})
    rows = await ledger.fetch(_SQL["all"])
    for done, one in enumerate(rows, 1):
        new = {name: keys.renew(one[name], one["row"]) for name in ("first", "second")}
        if one != {**one, **new}:
            old = {"old_first": one["first"], "old_second": one["second"]}
            await ledger.execute(_SQL["replace"], {"row": one["row"], **old, **new})
        report(done, len(rows))
