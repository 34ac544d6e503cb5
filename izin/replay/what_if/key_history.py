"""What the history says of one key, in the order in which we learnt it: what was known when, what
was due to İYS, and what the gate was asked.

The facts are folded as everywhere (``consent.recorded``), but for the end of a term: whether a
consent has expired is judged by the settings, unless İYS said so.

Lists that were scrubbed say to whom messages were sent. The receipt of a list names nobody. Its
digest covers recipients and reasons, so the scrubbed file is believed only as far as it is the list
of the receipt.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from izin.consent import (
    Channel,
    ConsentKey,
    KeyState,
    Observation,
    OriginRank,
    RecordedKey,
    SourceError,
    Status,
    read_recipient,
)
from izin.consent.may_send import PermissionReason
from izin.consent.recorded import Event
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.history import history_codec, receipt_key
from izin.ledger.reads import RecordedFact
from izin.producers.files import ColumnChoices, cell_text, open_table, recipient_place
from izin.schemas.codec import UndecodableError
from izin.schemas.may_send_api import digest_line

_SETTLING = frozenset({"accepted", "not_needed"})
_PERMITTING = frozenset({PermissionReason.REGISTERED, PermissionReason.EXEMPT})
_ASKED = frozenset(PermissionReason)
"""A row with another reason was not asked about: its fields cannot be separated."""


class KnownState(NamedTuple):
    """What is known of a key from an instant on."""

    at: datetime
    state: KeyState


@dataclass(slots=True, kw_only=True)
class DueEvent:
    """An event of ours that was desired, and what became of it at İYS."""

    status: Status
    effective_at: datetime
    superseded_at: datetime | None = None
    """When we learnt of a newer event."""
    registered_at: datetime | None = None
    """By İYS's clock; None: it never showed it as registered."""
    settled_at: datetime | None = None
    """When nothing was due any more."""
    is_refused: bool = False


class AskedReceipt(NamedTuple):
    """What the gate answered about one key."""

    receipt_id: str
    asked_at: datetime
    asked_by: str
    campaign: str | None
    message_class: str
    may_send: bool
    reason: str

    @classmethod
    def of(
        cls, data: Mapping[str, Any], asked_at: datetime, *, may_send: bool, reason: str
    ) -> "AskedReceipt":
        """Return an answer of the receipt whose content is ``data``."""
        names = ("receipt_id", "asked_by", "campaign", "message_class")
        return cls(
            **{name: data[name] for name in names},
            asked_at=asked_at,
            may_send=may_send,
            reason=reason,
        )


class KeyTimeline:
    """Everything that the history says of a key, from its entries in the order of recording."""

    def __init__(self, key: ConsentKey) -> None:
        self.key = key
        self.states: list[KnownState] = []
        self.events: dict[Event, DueEvent] = {}
        self.receipts: list[AskedReceipt] = []
        self.unreadable = 0
        """Facts that this release cannot read; they are left out."""
        self._recorded = RecordedKey()

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add an entry, as ``history.sql`` returns it."""
        try:
            self._add(entry)
        except (KeyError, TypeError, ValueError, UndecodableError):
            self.unreadable += 1

    def _add(self, entry: Mapping[str, Any]) -> None:
        kind, data, at = entry["kind"], entry["data"], entry["recorded_at"]
        event = self.events.get((entry["event_id"], entry["status"]))
        if kind == "decision":
            data = history_codec().decode("Decision", entry["decision"])
        elif kind == "receipt":
            self.receipts.append(
                AskedReceipt.of(
                    data,
                    entry["occurred_at"],
                    may_send=data["may_send"],
                    reason=data["reason"],
                )
            )
        elif kind == "outcome" and event is not None:
            if data["outcome"] in _SETTLING:
                event.settled_at = at
            elif data["outcome"] == "refused" or (data["outcome"] == "expired" and data["code"]):
                event.is_refused = True
        if kind == "outcome" and data["outcome"] == "expired" and not data["code"]:
            return
        before = self._recorded.state
        shown = self._recorded.add({**entry, "data": data})
        if kind == "answer" and event is not None and shown is not None:
            event.registered_at = shown.creation_date
        elif shown is not None:
            self._registered(shown)
        if self._recorded.state != before:
            self._note(before, at)

    def _registered(self, shown: Observation) -> None:
        """Note the events that İYS shows, as it dates them."""
        for (_, status), event in self.events.items():
            is_same = (status, event.effective_at) == (str(shown.value), shown.consent_date)
            if is_same and event.registered_at is None:
                event.registered_at = shown.creation_date

    def _note(self, before: KeyState, at: datetime) -> None:
        """Note what is known from ``at`` on, and what is due then, where that is another event."""
        state = self._recorded.state
        desired, known = state.desired, before.desired
        if desired is not None:
            name = desired.event_id, str(desired.status)
            if known is not None and not known.is_same(*name):
                superseded = self.events.get((known.event_id, str(known.status)))
                if superseded is not None:
                    superseded.superseded_at = at
            if desired.origin_rank is OriginRank.OURS:
                event = self.events.setdefault(
                    name, DueEvent(status=desired.status, effective_at=desired.effective_at)
                )
                event.effective_at, event.superseded_at = desired.effective_at, None
        if self.states and self.states[-1].at == at:
            self.states.pop()
        self.states.append(KnownState(at, state))


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenList:
    """A scrubbed file, and the receipts of its rows, in their order."""

    path: Path
    receipts: tuple[str, ...]
    recipient: str
    """The name of its column."""
    reason: str
    """The same."""


async def on_lists(ledger: Ledger, lists: Sequence[GivenList]) -> dict[str, list[AskedReceipt]]:
    """Return by key what the gate answered about everybody on ``lists``.

    Raises:
        SourceError: a list is not the one of its receipts, or no such table.
    """
    found = defaultdict[str, list[AskedReceipt]](list)
    for given in lists:
        receipts = [
            receipt_of(given.path, receipt, await reads.facts(ledger, [receipt_key(receipt)]))
            for receipt in given.receipts
        ]
        for key, asked in on_list(given, receipts):
            found[key].append(asked)
    return found


def receipt_of(path: Path, receipt_id: str, facts: Collection[RecordedFact]) -> RecordedFact:
    """Return what the history says of a list that was asked about, of the entries ``facts`` of
    the receipt's key.

    Raises:
        SourceError: there is none, or it proves no list.
    """
    asked = next((fact for fact in facts if "recipients" in fact.data), None)
    if asked is None:
        raise SourceError(f"{path.name}, receipt {receipt_id}: the ledger has no such receipt")
    if asked.data["digest"] is None:
        raise SourceError(
            f"{path.name}, receipt {receipt_id}: it has no digest of a list, so nothing proves who "
            "was on it"
        )
    return asked


def on_list(
    given: GivenList, receipts: Sequence[RecordedFact]
) -> Iterator[tuple[str, AskedReceipt]]:
    """Yield the key of each valid recipient of a file, and what the gate answered; receipt by
    receipt, each once its rows are verified.

    Raises:
        SourceError: the rows of a receipt are not those that it was given for, or the file is no
            such table.
    """
    rows = _rows(given, Channel(receipts[0].data["type"]))
    for receipt_id, receipt in zip(given.receipts, receipts, strict=True):
        data, at = {**receipt.data, "receipt_id": receipt_id}, receipt.occurred_at
        some = _verified(given, data, list(islice(rows, data["recipients"])))
        answers = {
            reason: AskedReceipt.of(data, at, may_send=reason in _PERMITTING, reason=reason)
            for _, reason in some
        }
        yield from ((key, answers[reason]) for key, reason in some)
    if next(rows, None) is not None:
        raise SourceError(
            f"{given.path.name}, receipt {given.receipts[-1]}: the file has rows beyond it; name "
            "every receipt"
        )


def _rows(given: GivenList, channel: Channel) -> Iterator[tuple[str, str]]:
    """Yield recipient and reason of each row that was asked about."""
    table = open_table(given.path, ColumnChoices())
    recipient = recipient_place(table.headers, channel, given.recipient)
    reason = recipient_place(table.headers, channel, given.reason)
    for row in table.rows():
        cells = [cell_text(row.fields[one]) for one in (recipient, reason) if one < len(row.fields)]
        if row.fault is None and len(cells) > 1 and cells[1] in _ASKED:
            yield cells[0], cells[1]


def _verified(
    given: GivenList, data: Mapping[str, Any], rows: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return key and reason of each valid recipient, where ``rows`` are those of the receipt with
    this ``data``; raises SourceError.
    """
    hashed, found = hashlib.sha256(), list[tuple[str, str]]()
    start = f"{data['brand_code']}/{data['type']}/{data['recipient_type']}/"
    for text, reason in rows:
        recipient = read_recipient(text, Channel(data["type"]))
        is_valid = isinstance(recipient, str)
        key = f"{start}{recipient if is_valid else text}"
        hashed.update(digest_line(key, reason))
        if is_valid:
            found.append((key, reason))
    if hashed.hexdigest() != data["digest"]:
        raise SourceError(
            f"{given.path.name}, receipt {data['receipt_id']}: the digest differs: these are not "
            f"the {data['recipients']} recipients and reasons that the gate answered; name the "
            "file as izin scrub wrote it"
        )
    return found
