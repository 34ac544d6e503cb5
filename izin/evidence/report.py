"""The machine form of an archive: what its rows say of each key, computed from them alone.

Whoever verifies computes it again, so that nothing in it can say anything else than the rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from izin.consent import ConsentKey, RecipientType, RecordedKey, Status, is_of_citizens
from izin.evidence.chain import Segment
from izin.evidence.daily_files import DailyLines, shown_in
from izin.evidence.rows import UNREADABLE, Batches, EvidenceRow, Fact, fact_of, is_digest

FORMAT = 3
"""Of the archive. It rises with every change of what is computed from the rows: a release that
computes otherwise verifies older archives without these files."""
RECEIPTS = "receipt/"
"""How the keys of requests to the gate begin, which name nobody."""


def report_of(
    header: Mapping[str, Any],
    rows: Iterable[EvidenceRow],
    batches: Batches,
    segments: Sequence[Segment],
    daily_files: Sequence[DailyLines],
) -> dict[str, Any]:
    """Return what is in ``evidence.json``: what an archive with this ``header`` says.

    Raises:
        UnreadableEvidenceError: a row cannot be read.
    """
    facts = [fact_of(one) for one in rows if not is_digest(one)]
    facts.sort(key=lambda one: (one["recorded_at"], one["shard"], one["place"]))
    sent = [one.fields for one in batches.rows]
    keys = [str(one) for one in header["keys"]]
    shown = shown_in(facts) if daily_files else {}
    return {
        "format": FORMAT,
        "header": header,
        "keys": [
            _key(
                key,
                [one for one in facts if one["key"] == key],
                [one for one in sent if one["key"] == key],
                datetime.fromisoformat(header["at"]),
            )
            for key in keys
        ],
        "daily_files": [one.report(keys, shown) for one in daily_files],
        "requests": [one for one in facts if one["key"].startswith(RECEIPTS)],
        "chain": [
            {
                "shard": one.shard,
                "place": one.place,
                "link": one.link.hex(),
                "anchored_at": one.anchored_at,
            }
            for one in segments
        ],
    }


def misplaced(header: Mapping[str, Any], rows: Iterable[EvidenceRow]) -> list[str]:
    """Return the rows that do not belong into an archive with this ``header``: of another
    recipient, brand or customer.
    """
    keys = set(map(str, header["keys"]))
    foreign = {
        key
        for key in keys
        if (parsed := ConsentKey.parse(key)).recipient != header["recipient"]
        or parsed.brand_code != header["brand"]["code"]
    }
    faults = [f"{len(foreign)} keys are not of the recipient and the brand"] if foreign else []
    for row in rows:
        columns = row.columns
        if columns.key not in keys and not columns.key.startswith(RECEIPTS) and not is_digest(row):
            faults.append(f"row {columns.place} of shard {row.shard} is of another key")
    return faults


def _key(
    key: str, facts: Sequence[Fact], sent: Sequence[Mapping[str, Any]], at: datetime
) -> dict[str, Any]:
    parsed = ConsentKey.parse(key)
    recipient_type = str(parsed.recipient_type)
    then = state_at(recipient_type, facts, until=at)
    return {
        "key": key,
        "channel": str(parsed.channel),
        "recipient_type": recipient_type,
        "then": then,
        "latest": state_at(recipient_type, facts),
        "consents": _consents(facts, then),
        "calls": _calls(facts),
        "receipts": [one for one in facts if one["kind"] == "receipt"],
        "deliveries": list(sent),
        "movements": list(facts),
    }


def state_at(
    recipient_type: str, facts: Iterable[Fact], *, until: datetime | None = None
) -> dict[str, Any]:
    """Return what stands of one key, here and at İYS, and whether a message may be sent.

    By those of its ``facts``, in the order of their recording, that were recorded by ``until``;
    None: by all of them.
    """
    key, known_at, unreadable = RecordedKey(), None, 0
    for one in facts:
        if until is None or datetime.fromisoformat(one["recorded_at"]) <= until:
            key.add(one)
            known_at = one["recorded_at"]
            unreadable += one["kind"] == UNREADABLE
    desired, shown = key.state.desired, key.state.registration
    answer = key.state.permission(RecipientType(recipient_type))
    return {
        "known_at": known_at,
        "unreadable": unreadable,
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


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _consents(facts: Iterable[Fact], then: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each consent (ONAY) that was given, with its notice and evidence, and who has to prove
    it: for one given through İYS not the provider.
    """
    found = []
    desired = then["desired"] or {}
    for one in facts:
        if one["kind"] != "decision" or one["data"]["event"]["status"] != Status.ONAY:
            continue
        event = one["data"]["event"]
        through_iys = is_of_citizens(event.get("source")) and "iys" in event
        found.append(
            {
                "event_id": event["event_id"],
                "effective_at": one["data"]["effective_at"],
                "source": event.get("source"),
                "origin": event.get("origin"),
                "actor": event.get("actor"),
                "received_at": event.get("received_at"),
                "notice_version": event.get("notice_version"),
                "evidence": event.get("evidence", {}),
                "evidence_hash": event.get("evidence_hash"),
                "through_iys": through_iys,
                "burden_of_proof": "iys" if through_iys else "provider",
                "recorded_at": one["recorded_at"],
                "stood_then": (desired.get("event_id"), desired.get("status"))
                == (event["event_id"], Status.ONAY),
                "shard": one["shard"],
                "place": one["place"],
            }
        )
    return found


def _calls(facts: Iterable[Fact]) -> list[dict[str, Any]]:
    """Return each call to İYS about the key, with İYS's answer."""
    calls: dict[tuple[Any, str | None], dict[str, Any]] = {}
    for one in facts:
        if one["kind"] not in {"call", "answer"}:
            continue
        data = one["data"]
        place = data["submission"], one["status"]
        call = calls.setdefault(
            place, {"submission": data["submission"], "status": one["status"], "answers": []}
        )
        if one["kind"] == "call":
            call |= {
                "sent_at": one["occurred_at"],
                "attempt": data["attempt"],
                "in_batch": data["kind"] == "batch",
                "consent_date": data["consent_date"],
                "source": data["source"],
            }
        else:
            names = ("verdict", "code", "how", "request_id", "sub_request_id", "transaction_id")
            call["answers"].append(
                {name: data.get(name) for name in (*names, "creation_date")}
                | {"answered_at": one["occurred_at"]}
            )
    return list(calls.values())
