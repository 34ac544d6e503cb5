"""Lines of İYS's daily files in an archive: what each file has of the recipient.

İYS states the SHA-384 of a whole file, and has that hash time-stamped. A file has lines of others,
so that it is not in the archive, and no line alone leads to its hash. A line is proven by the row
of the history that has the same entry, or by the whole file, which whoever has it compares with
the hash.

Whoever verifies can check the time stamps (RFC 3161) with rfc3161-client, which the libraries alone
do not bring. Without it, or without roots that are trusted, a time stamp is unverified, and all
else of the archive is verified.
"""

import base64
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

from izin.consent import TURKEY, ConsentKey, SourceError
from izin.evidence.container import UnreadableEvidenceError
from izin.evidence.rows import Fact

Shown = Mapping[tuple[object, ...], Sequence[Mapping[str, int]]]
"""The places of entries, by key and by what a line of theirs would say."""
COLUMNS = (
    *("creationDate", "transactionId", "recipient", "recipientType", "type", "status"),
    *("consentDate", "source"),
)
"""Of a line, as İYS names them."""
MISSING, UNVERIFIED, WRONG = "missing", "unverified", "wrong"
"""States of time stamps, as ``schemas.timestamps`` names them."""


class TimestampFinding(NamedTuple):
    """What is known of a time stamp."""

    state: str
    at: datetime | None = None
    """When it was made, as it says itself."""
    note: str | None = None
    """Why it is wrong, or what its verification needs."""


TimestampCheck = Callable[[bytes | None, str], TimestampFinding]
"""Checks a reply (DER) over a SHA-384 in hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyLines:
    """The recipient's lines in the file of one day, and what the ledger had of that file."""

    day: str
    hash_value: str
    """The SHA-384 in hex that İYS stated, and that the file had when it was stored."""
    fetched_at: str | None
    total: int
    """How many lines the file has."""
    erased: int
    """How many of them were erased since it was stored."""
    integrity: str
    """Whether the stored file still has the hash: ``ok``, ``wrong``, or ``erased`` lines."""
    agreement: str | None
    """Whether the ledger's own file of the day has it: ``ok``, ``differs``; None: not compared."""
    own_hash: str | None
    only_at_iys: int | None
    only_here: int | None
    timestamp_state: str | None
    """As the ledger found it; None: it was not asked for yet."""
    timestamped_at: str | None
    timestamp_reply: bytes | None
    """İYS's reply (RFC 3161, DER)."""
    lines: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as ``daily-files.json`` has it."""
        reply = self.timestamp_reply
        encoded = None if reply is None else base64.b64encode(reply).decode()
        return asdict(self) | {"timestamp_reply": encoded}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the file of an entry; raises UnreadableEvidenceError."""
        try:
            encoded, lines = value["timestamp_reply"], tuple(map(str, value["lines"]))
            reply = None if encoded is None else base64.b64decode(encoded, validate=True)
            one = cls(**{**value, "timestamp_reply": reply, "lines": lines})
            # Time stamps are of its bytes.
            bytes.fromhex(one.hash_value)
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableEvidenceError(
                "daily-files.json has an entry that is no daily file"
            ) from error
        return one

    def report(self, keys: Sequence[str], shown: Shown) -> dict[str, Any]:
        """Return what ``evidence.json`` has of it: each line with its key, and with the places of
        the entries in the history that say the same.
        """
        known = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in {"timestamp_reply", "lines"}
        }
        return known | {
            "lines": [
                {"line": line, "key": key, "entries": _entries(line, key, shown)}
                for line in self.lines
                for key in [_key_of(line, keys)]
            ]
        }


def unproven(files: Iterable[DailyLines]) -> list[str]:
    """Return what is wrong with the time stamps that are stated: each brings its reply."""
    return [
        f"the daily file of {file.day} states a time stamp otherwise than it brings one"
        for file in files
        if (file.timestamp_reply is None) != (file.timestamp_state in {None, MISSING})
    ]


def misplaced(files: Iterable[DailyLines], keys: Sequence[str]) -> list[str]:
    """Return which files have lines that are of none of ``keys``."""
    return [
        f"the daily file of {file.day} has a line of another recipient or channel"
        for file in files
        if not all(_key_of(line, keys) for line in file.lines)
    ]


def _cells(line: str) -> dict[str, str]:
    return dict(zip(COLUMNS, [one.strip('" ') for one in line.split(",")], strict=False))


def _key_of(line: str, keys: Iterable[str]) -> str | None:
    """Return which of ``keys`` a line is of."""
    cells = _cells(line)
    recipient, *others = (cells.get(name, "") for name in ("recipient", "recipientType", "type"))
    return _by_columns(tuple(keys)).get((recipient.lower(), *others))


@lru_cache(maxsize=1)
def _by_columns(keys: Sequence[str]) -> Mapping[tuple[str, ...], str]:
    """Return ``keys`` by recipient, recipient type and channel."""
    parsed = [(ConsentKey.parse(key), key) for key in reversed(keys)]
    return {
        (one.recipient.lower(), str(one.recipient_type), str(one.channel)): key
        for one, key in parsed
    }


def shown_in(facts: Iterable[Fact]) -> Shown:
    """Return the places of the entries that İYS showed, by what they say."""
    found = defaultdict[tuple[object, ...], list[dict[str, int]]](list)
    for fact in facts:
        if fact["kind"] == "observation":
            found[fact["key"], *_says(fact)].append(
                {"shard": fact["shard"], "place": fact["place"]}
            )
    return found


def _entries(line: str, key: str | None, shown: Shown) -> Sequence[Mapping[str, int]]:
    """Return the places of the entries that İYS showed elsewhere too, alike in every column."""
    cells = _cells(line)
    if key is None or cells.keys() != set(COLUMNS):
        return []
    says = (
        instant_of(cells["creationDate"]),
        cells["transactionId"],
        cells["status"],
        instant_of(cells["consentDate"]),
        cells["source"],
    )
    return shown.get((key, *says), ())


def _says(fact: Fact) -> tuple[datetime | None, str, str | None, datetime | None, str]:
    data = fact["data"]
    return (
        instant_of(data.get("creation_date")),
        data.get("transaction_id") or "",
        fact["status"],
        instant_of(data.get("consent_date")),
        data.get("source") or "",
    )


def instant_of(text: str | None) -> datetime | None:
    """Return an instant, in Turkish time where it names none; None where there is none."""
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=TURKEY)


def check_with(roots: Path | None) -> TimestampCheck:
    """Return what checks time stamps against a file of trusted ``roots`` (PEM), or against none.

    Raises:
        SourceError: the file cannot be read, or has no certificate.
    """
    try:
        from izin.schemas import timestamps  # noqa: PLC0415  # its packages may be missing
    except ImportError:
        return _not_installed
    try:
        trusted = () if roots is None else timestamps.roots_in(roots)
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{roots} has no certificates; name the roots of the time-stamp authority in PEM"
        ) from error

    def check(reply: bytes | None, hash_value: str) -> TimestampFinding:
        found = timestamps.verify(reply, hash_value, trusted)
        is_open = found.state == UNVERIFIED
        note = "bring the roots of its authority (--roots FILE)" if is_open else found.error
        return TimestampFinding(str(found.state), found.at, note)

    return check


def _not_installed(reply: bytes | None, _hash_value: str) -> TimestampFinding:
    if reply is None:
        return TimestampFinding(MISSING)
    return TimestampFinding(UNVERIFIED, note="it needs rfc3161-client: pip install rfc3161-client")
