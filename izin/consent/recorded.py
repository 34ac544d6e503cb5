"""What the history says of one key, folded fact by fact (``fold``).

The same for everyone who reads the history: the archive of evidence, whose instants are ISO texts,
and a what-if, whose instants are instants. Pure.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from izin.consent.enums import OriginRank, Status
from izin.consent.fold import KeyState, Observation, WinningEvent, restored_consent
from izin.consent.model import ConsentKey, rank_of
from izin.consent.next_action import Registered

RecordedFact = Mapping[str, Any]
"""A row of the history by its columns; the ``data`` of a decision is the Avro Decision."""
Event = tuple[str | None, str | None]
"""The id and the status of an event: senders choose the ids, and may give one to both."""


class RecordedKey:
    """The state of one key after the facts that were added, in the order of their recording."""

    def __init__(self) -> None:
        self.state = KeyState()
        self._counted: dict[Event, datetime] = {}
        """From when each event counts."""
        self._called: dict[tuple[Any, str | None], Mapping[str, Any]] = {}
        """What was submitted, by submission and status."""

    def add(self, fact: RecordedFact) -> Observation | None:
        """Fold a fact into the state; return what İYS showed by an answer, a query or a pull.

        Raises:
            KeyError, TypeError, ValueError: this release cannot read the fact.
        """
        kind, status, data = fact["kind"], fact["status"], fact["data"]
        found = None
        match kind:
            case "decision":
                self._decide(data)
            case "bootstrap":
                self._restore(fact)
            case "call":
                self._called[data["submission"], status] = data
                self._open_opt_out(status, is_open=True)
            case "answer":
                self._open_opt_out(status, is_open=False)
                found = self._answered(fact)
            case "observation":
                found = Observation.recorded(status, data, seen_at=known(fact["occurred_at"]))
            case "outcome":
                self.state = self.state.ended(fact["event_id"], status, data["outcome"])
            case _:
                pass
        if found is not None:
            self.state = self.state.observed(found)
        return found

    def _open_opt_out(self, status: str | None, *, is_open: bool) -> None:
        if status == Status.RET:
            self.state = replace(self.state, is_ret_open=is_open)

    def _decide(self, data: Mapping[str, Any]) -> None:
        event, consent, at_iys = data["event"], data["consent"], data["event"].get("iys")
        self._counted[event["event_id"], event["status"]] = known(data["effective_at"])
        is_ret = event["status"] == Status.RET
        rank = rank_of(None if at_iys is None else at_iys["stream"])
        self.state = self.state.decided(
            _winning(consent, consent["effective_at"], OriginRank(consent["origin_rank"])),
            latest_onay_at=instant(consent["latest_onay_at"]),
            latest_ret_at=instant(consent["latest_ret_at"]),
            opt_out=_winning(event, data["effective_at"], rank) if is_ret else None,
        )
        if at_iys is not None and is_ret:
            claimed = Observation(
                value=Registered.RET,
                creation_date=known(at_iys["creation_date"]),
                consent_date=instant(event.get("consent_date")),
                source=event.get("source"),
                transaction_id=at_iys["transaction_id"],
                verified_at=None,
                verified_by=at_iys["path"],
            )
            self.state = self.state.observed(claimed)

    def _restore(self, fact: RecordedFact) -> None:
        consent = restored_consent(
            ConsentKey.parse(fact["key"]),
            customer_id=fact["customer_id"],
            event_id=fact["event_id"] or "",
            status=Status(fact["status"]),
            effective_at=known(fact["occurred_at"]),
            data=fact["data"],
        )
        self.state = self.state.restored(consent)

    def _answered(self, fact: RecordedFact) -> Observation | None:
        """Return what İYS saved; None where it saved nothing, or something older than the event:
        that is of an earlier save, and İYS is queried.
        """
        data, status = fact["data"], fact["status"]
        created_at = instant(data.get("creation_date"))
        counts_from = self._counted.get((fact["event_id"], status))
        if data["verdict"] != "success" or created_at is None:
            return None
        if counts_from is not None and created_at < counts_from:
            return None
        submitted = self._called.get((data["submission"], status), {})
        return Observation.answered(
            status,
            consent_date=instant(submitted.get("consent_date")),
            source=submitted.get("source"),
            creation_date=created_at,
            transaction_id=data["transaction_id"],
            how=data["how"],
            at=known(fact["recorded_at"]),
        )


def known(at: datetime | str) -> datetime:
    """Return an instant, which may be an ISO text."""
    return datetime.fromisoformat(at) if isinstance(at, str) else at


def instant(at: datetime | str | None) -> datetime | None:
    """Return an instant, which may be an ISO text, or None."""
    return None if at is None else known(at)


def _winning(
    said: Mapping[str, Any], effective_at: datetime | str, rank: OriginRank
) -> WinningEvent:
    return WinningEvent(
        status=Status(said["status"]),
        effective_at=known(effective_at),
        origin_rank=rank,
        event_id=said["event_id"],
        source=said.get("source"),
        consent_date=instant(said.get("consent_date")),
    )
