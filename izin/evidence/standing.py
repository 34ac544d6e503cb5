"""What stood at an instant: here, at İYS, and whether a message was allowed, by the facts that had
been recorded by then, folded as the ledger folds them (``consent.fold``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from izin.consent.enums import OriginRank, RecipientType, Status
from izin.consent.fold import KeyState, Observation, WinningEvent, restored_consent
from izin.consent.model import Consent, ConsentKey, rank_of
from izin.consent.next_action import Registered
from izin.evidence import facts
from izin.evidence.facts import Fact


class Standing:
    """The state of one key after the facts that were added, in the order of their recording."""

    def __init__(self, recipient_type: str) -> None:
        self._recipient_type = RecipientType(recipient_type)
        self._state = KeyState()
        self._counted: dict[tuple[str | None, str | None], datetime] = {}
        """From when each event counts, by id and status."""
        self._called: dict[tuple[Any, str | None], Mapping[str, Any]] = {}
        self._known_at: str | None = None
        self._unreadable = 0
        """Facts that this release cannot read; they are left out."""

    def add_all(self, some: Iterable[Fact], *, until: datetime | None = None) -> "Standing":
        """Add the facts recorded by ``until`` (None: all of them); return itself."""
        for one in some:
            if until is None or datetime.fromisoformat(one["recorded_at"]) <= until:
                self._add(one)
                self._known_at = one["recorded_at"]
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the state."""
        desired, shown = self._state.desired, self._state.registration
        answer = self._state.permission(self._recipient_type)
        return {
            "known_at": self._known_at,
            "unreadable": self._unreadable,
            "desired": desired
            and {
                "status": str(desired.status),
                "effective_at": _text(desired.effective_at),
                "origin_rank": int(desired.origin_rank),
                "event_id": desired.event_id,
                "source": desired.source,
                "consent_date": _text(desired.consent_date),
            },
            "registered": {
                "status": str(shown.value),
                "creation_date": _text(shown.creation_date),
                "consent_date": _text(shown.consent_date),
                "source": shown.source,
                "transaction_id": shown.transaction_id,
                "seen_at": _text(shown.verified_at),
                "path": shown.verified_by,
            },
            "may_send": answer.may_send,
            "reason": str(answer.reason),
        }

    def _add(self, fact: Fact) -> None:
        data, status = fact["data"], fact["status"]
        match fact["kind"]:
            case "decision":
                self._decide(data)
            case "bootstrap":
                self._state = self._state.restored(_restored(fact))
            case "call":
                self._called[data["submission"], status] = data
                self._open_opt_out(status, is_open=True)
            case "answer":
                self._open_opt_out(status, is_open=False)
                self._answer(fact)
            case "observation":
                self._state = self._state.observed(
                    Observation.recorded(fact["status"], data, seen_at=_known(fact["occurred_at"]))
                )
            case facts.UNREADABLE:
                self._unreadable += 1
            case "outcome":
                self._state = self._state.ended(fact["event_id"], status, data["outcome"])
            case _:
                pass

    def _open_opt_out(self, status: str | None, *, is_open: bool) -> None:
        if status == Status.RET:
            self._state = replace(self._state, is_ret_open=is_open)

    def _decide(self, data: Mapping[str, Any]) -> None:
        event, consent, at = data["event"], data["consent"], _known(data["effective_at"])
        at_iys = event.get("iys")
        self._counted[event["event_id"], event["status"]] = at
        rank = rank_of(None if at_iys is None else at_iys["stream"])
        is_ret = event["status"] == Status.RET
        self._state = self._state.decided(
            _winning(consent, consent["effective_at"], OriginRank(consent["origin_rank"])),
            latest_onay_at=_instant(consent["latest_onay_at"]),
            latest_ret_at=_instant(consent["latest_ret_at"]),
            opt_out=_winning(event, data["effective_at"], rank) if is_ret else None,
        )
        if at_iys is not None and is_ret:
            self._state = self._state.observed(
                Observation(
                    value=Registered.RET,
                    creation_date=_known(at_iys["creation_date"]),
                    consent_date=_instant(event.get("consent_date")),
                    source=event.get("source"),
                    transaction_id=at_iys["transaction_id"],
                    verified_at=None,
                    verified_by=at_iys["path"],
                )
            )

    def _answer(self, fact: Fact) -> None:
        data, status = fact["data"], fact["status"]
        found = Observation.answered(
            status,
            data,
            self._called.get((data["submission"], status), {}),
            at=_known(fact["recorded_at"]),
            effective_at=self._counted.get((fact["event_id"], status)),
        )
        if found is not None:
            self._state = self._state.observed(found)


def _winning(said: Mapping[str, Any], effective_at: str, rank: OriginRank) -> WinningEvent:
    return WinningEvent(
        status=Status(said["status"]),
        effective_at=_known(effective_at),
        origin_rank=rank,
        event_id=said["event_id"],
        source=said.get("source"),
        consent_date=_instant(said.get("consent_date")),
    )


def _restored(fact: Fact) -> Consent:
    return restored_consent(
        ConsentKey.parse(fact["key"]),
        customer_id=fact["customer_id"],
        event_id=fact["event_id"] or "",
        status=Status(fact["status"]),
        effective_at=_known(fact["occurred_at"]),
        data=fact["data"],
    )


def _known(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
