"""What stood at an instant: here, at İYS, and whether a message was allowed, by the facts that had
been recorded by then.

As the ledger applies them (``sinks.record.apply``): the newest event in the law's order is desired,
and İYS's statement with the greatest creation date is what it holds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from izin.consent.admission import SKEW
from izin.consent.enums import OriginRank, RecipientType, Status
from izin.consent.may_send import CollectedConsent, may_send
from izin.consent.next_action import Registered, RegisteredState
from izin.evidence import facts
from izin.evidence.facts import Fact

_RANKS = {"iys": OriginRank.IYS, "iys-hs": OriginRank.IYS_HS}
"""Of restorations that were recorded without a rank."""
_CITIZEN = "IYS_"
"""How the sources begin under which citizens act at İYS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What İYS holds, as far as it is known."""

    value: Registered = Registered.UNKNOWN
    created_at: datetime | None = None
    consent_date: datetime | None = None
    source: str | None = None
    transaction_id: str | None = None
    seen_at: datetime | None = None
    """When we saw it at İYS ourselves; None: an event claims it."""
    path: str | None = None


class Standing:
    """The state of one key after the facts that were added, in the order of their recording."""

    def __init__(self, recipient_type: str) -> None:
        self._recipient_type = RecipientType(recipient_type)
        self._desired: Mapping[str, Any] | None = None
        self._latest_ret_at: datetime | None = None
        self._shown = _Shown()
        self._counted: dict[tuple[str | None, str | None], datetime] = {}
        """From when each event counts, by id and status."""
        self._called: dict[tuple[Any, str | None], Mapping[str, Any]] = {}
        self._void: set[tuple[str | None, str | None]] = set()
        """The events that expired, or that İYS refused."""
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
        desired, shown = self._desired, self._shown
        status = None if desired is None else Status(desired["status"])
        answer = may_send(
            recipient_type=self._recipient_type,
            desired=status,
            latest_ret_at=self._latest_ret_at,
            registered=RegisteredState(
                value=shown.value,
                creation_date=shown.created_at,
                consent_date=shown.consent_date,
                source=shown.source,
                from_iys=is_of_citizen(shown.source),
            ),
            verified=shown.seen_at is not None,
            collected=self._collected(),
        )
        return {
            "known_at": self._known_at,
            "unreadable": self._unreadable,
            "desired": desired,
            "registered": {
                "status": str(shown.value),
                "creation_date": _text(shown.created_at),
                "consent_date": _text(shown.consent_date),
                "source": shown.source,
                "transaction_id": shown.transaction_id,
                "seen_at": _text(shown.seen_at),
                "path": shown.path,
            },
            "may_send": answer.may_send,
            "reason": str(answer.reason),
        }

    def _add(self, fact: Fact) -> None:
        data, event = fact["data"], (fact["event_id"], fact["status"])
        match fact["kind"]:
            case "decision":
                self._decide(fact)
            case "bootstrap":
                self._restore(fact)
            case "call":
                self._called[data["submission"], fact["status"]] = data
            case "answer":
                self._answer(fact)
            case "observation":
                self._show(
                    _Shown(
                        value=Registered(fact["status"]),
                        created_at=_instant(data.get("creation_date") or fact["occurred_at"]),
                        consent_date=_instant(data.get("consent_date")),
                        source=data.get("source"),
                        transaction_id=data.get("transaction_id"),
                        seen_at=_instant(fact["occurred_at"]),
                        path=data.get("by"),
                    )
                )
            case facts.UNREADABLE:
                self._unreadable += 1
            case "outcome" if data["outcome"] in {"expired", "refused"}:
                self._void.add(event)
            case _:
                pass

    def _decide(self, fact: Fact) -> None:
        data, event = fact["data"], fact["data"]["event"]
        consent, at_iys = data["consent"], event.get("iys")
        self._counted[event["event_id"], event["status"]] = _known(data["effective_at"])
        self._desire(consent, _instant(consent["latest_ret_at"]))
        if at_iys is not None and event["status"] == Status.RET:
            self._show(
                _Shown(
                    value=Registered.RET,
                    created_at=_instant(at_iys["creation_date"]),
                    consent_date=_instant(event.get("consent_date")),
                    source=event.get("source"),
                    transaction_id=at_iys["transaction_id"],
                    path=at_iys["path"],
                )
            )

    def _restore(self, fact: Fact) -> None:
        """Add a row that was restored from the topic of desired consents."""
        data, at = fact["data"], fact["occurred_at"]
        rank = data.get("origin_rank")
        consent = {
            "status": fact["status"],
            "effective_at": at,
            "origin_rank": _RANKS.get(data["origin"], OriginRank.OURS) if rank is None else rank,
            "event_id": fact["event_id"],
            "source": data["source"],
            "consent_date": data["consent_date"],
        }
        if self._desire(consent, _instant(at) if fact["status"] == Status.RET else None):
            self._shown = _Shown()

    def _desire(self, consent: Mapping[str, Any], latest_ret_at: datetime | None) -> bool:
        """Take a consent, if it is newer in the law's order; return whether it is."""
        if latest_ret_at is not None:
            self._latest_ret_at = max(self._latest_ret_at or latest_ret_at, latest_ret_at)
        if self._desired is not None and _order(consent) <= _order(self._desired):
            return False
        names = ("status", "effective_at", "origin_rank", "event_id", "source", "consent_date")
        self._desired = {name: consent[name] for name in names}
        return True

    def _answer(self, fact: Fact) -> None:
        """Add İYS's result, if it saved what was submitted and not something before."""
        data, event = fact["data"], (fact["event_id"], fact["status"])
        created_at = _instant(data.get("creation_date"))
        if data["verdict"] != "success" or created_at is None:
            return
        if event in self._counted and created_at < self._counted[event]:
            return
        call = self._called.get((data["submission"], fact["status"]), {})
        self._show(
            _Shown(
                value=Registered(fact["status"]),
                created_at=created_at,
                consent_date=_instant(call.get("consent_date")),
                source=call.get("source"),
                transaction_id=data["transaction_id"],
                seen_at=_instant(fact["recorded_at"]),
                path=data["how"],
            ),
            is_answer=data["how"] == "add",
        )

    def _show(self, new: _Shown, *, is_answer: bool = False) -> None:
        """Take what İYS shows, if it is newer than what is known."""
        known, created = self._shown, new.created_at
        if created is None:
            return
        if new.seen_at is None:
            if known.created_at is not None and created <= known.created_at:
                return
        elif new.value is Registered.ONAY and created - new.seen_at > SKEW:
            created = new.seen_at
        at, is_detailed = known.created_at, new.transaction_id is not None
        is_queried = known.transaction_id is None and at is not None
        # A query of the key alone shows what stands, however old its date.
        stands = new.path == "status" and at is not None and (new.seen_at or at) >= at
        if is_queried and (is_answer or stands):
            at = created
        # An absence among many is a RET or no record: a RET of before is what was absent.
        is_absent_ret = (known.value, new.value) == (Registered.NOT_ONAY, Registered.RET)
        fills_in = is_queried and is_detailed and (is_absent_ret or known.value is new.value)
        if at is not None and not fills_in:
            if created < at:
                return
            if created == at and known.value is Registered.RET and new.value is not known.value:
                return
        is_known_ret = new.value is Registered.NOT_ONAY and known.value is Registered.RET
        if is_known_ret or (not is_detailed and known.value is new.value):
            self._shown = replace(known, seen_at=new.seen_at, path=new.path)
            return
        is_dated = fills_in and new.value is Registered.ONAY
        self._shown = replace(new, created_at=created if is_dated else max(at or created, created))

    def _collected(self) -> CollectedConsent:
        """Return what became of the opt-in that one of our systems collected."""
        desired = self._desired
        if (
            desired is None
            or desired["status"] != Status.ONAY
            or desired["origin_rank"] != OriginRank.OURS
        ):
            return CollectedConsent.NONE
        is_void = (desired["event_id"], desired["status"]) in self._void
        return CollectedConsent.VOID if is_void else CollectedConsent.PENDING


def is_of_citizen(source: str | None) -> bool:
    """Whether a citizen wrote it at İYS."""
    return source is not None and source.startswith(_CITIZEN)


def _order(consent: Mapping[str, Any]) -> tuple[datetime, bool, int, str]:
    return (
        _known(consent["effective_at"]),
        consent["status"] == Status.RET,
        consent["origin_rank"],
        consent["event_id"] or "",
    )


def _known(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
