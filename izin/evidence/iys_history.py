"""İYS's own history of a key, as İYS answered it, beside ours.

A person has İYS asked (``consents/history``), and the answer is kept in the history of the key,
byte for byte, as an act. So it is proven as any other row, and goes with the others when the key is
erased: an answer that was changed is another row than the one that was chained.

The last answer is compared with what our history has of the same movements: what İYS's streams and
single queries showed, and what it answered when a consent was registered. A movement is known by
its transaction and status, for movements of one second share a transaction. What İYS shows without
a transaction, in queries about a thousand, is not compared.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any

from izin.consent import Registered
from izin.evidence.daily_files import instant_of
from izin.evidence.rows import Fact

ASKED = "query history at İYS"
"""What the act is called."""
ANSWERS = "answers"
"""What the act has İYS's answers under: a text for each page."""
ONLY_AT_IYS, ONLY_HERE, OTHERWISE, STANDING = "only-at-iys", "only-here", "otherwise", "standing"
"""The differences: a movement that İYS alone has, or we alone, or that both have with other words;
and that İYS's last movement is not what İYS was known to hold when it answered.
"""
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, RecursionError)
_Movement = dict[str, Any]
"""A movement at İYS as one of both histories has it, with dates as ISO texts in UTC; None: it does
not say that."""


def is_answer(kind: str, data: object) -> bool:
    """Whether an entry of the history has an answer of İYS, by its kind and content."""
    return kind == "act" and isinstance(data, dict) and data.get("act") == ASKED


def movements_in(key: str, data: Mapping[str, Any]) -> list[_Movement] | None:
    """Return the movements in the answer that an act has; None where it cannot be read as a history
    of ``key``.
    """
    try:
        _, channel, recipient_type, recipient = key.split("/", 3)
        pages = [_folded(json.loads(text)) for text in data["after"][ANSWERS]]
        items = [_folded(item) for page in pages for item in page.get("list") or ()]
        is_ours = all(
            (
                item["type"],
                item.get("recipienttype") or "BIREYSEL",
                item["recipient"].strip().lower(),
            )
            == (channel, recipient_type, recipient.lower())
            for item in items
        )
        return [_movement(item, item["status"]) for item in items] if is_ours else None
    except _UNREADABLE:
        return None


def _folded(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with its keys as İYS and we spell them alike."""
    return {name.lower().replace("_", ""): one for name, one in value.items()}


def _movement(said: Mapping[str, Any], status: str | None) -> _Movement:
    """Return the movement in an object whose keys are folded."""
    dates = {name: instant_of(said.get(name)) for name in ("creationdate", "consentdate")}
    created, consented = (None if at is None else at.astimezone(UTC) for at in dates.values())
    return {
        "transaction_id": str(said["transactionid"] or ""),
        "status": status,
        "creation_date": created and created.isoformat(),
        "consent_date": consented and consented.isoformat(),
        "source": said.get("source") or None,
    }


def _shown_by(fact: Fact) -> _Movement | None:
    """Return the movement at İYS that an entry of ours has, if it has one."""
    data = fact["data"]
    if fact["kind"] == "decision":
        data = data["event"] | data["event"].get("iys", {})
    elif fact["kind"] not in {"observation", "answer"}:
        return None
    said = _folded(data)
    return _movement(said, fact["status"]) if said.get("transactionid") else None


def compared(answer: Fact, facts: Iterable[Fact], *, held: str) -> dict[str, Any]:
    """Return what ``evidence.json`` has of İYS's ``answer``: its movements, each with the places of
    our entries of it, and every difference. ``facts`` are all of the key, and ``held`` is what İYS
    was known to hold when it answered.
    """
    here = defaultdict[tuple[str, str], list[_Movement]](list)
    for fact in facts:
        if shown := _shown_by(fact):
            place = {"shard": fact["shard"], "place": fact["place"]}
            here[shown["transaction_id"], shown["status"]].append(shown | {"entry": place})
    found = movements_in(answer["key"], answer["data"])
    theirs = {(one["transaction_id"], one["status"]): one for one in found or ()}
    differences = _differences(theirs, here, until=answer["occurred_at"], held=held)
    return {
        "asked_at": answer["occurred_at"],
        "asked_by": answer["data"]["by"],
        "shard": answer["shard"],
        "place": answer["place"],
        "is_readable": found is not None,
        "held": held,
        "movements": [
            one | {"entries": [ours["entry"] for ours in here.get(name, ())]}
            for name, one in theirs.items()
        ],
        "differences": [] if found is None else list(differences),
    }


def _differences(
    theirs: Mapping[tuple[str, str], _Movement],
    here: Mapping[tuple[str, str], Sequence[_Movement]],
    *,
    until: str,
    held: str,
) -> Iterator[_Movement]:
    """Yield how the movements of both histories differ, of ours those ``until`` İYS answered; then
    İYS's last movement, if it is not what İYS was ``held`` to have. Of one second there may be
    several, and one that agrees is enough.
    """
    for name, one in theirs.items():
        said = [(ours[field], one.get(field)) for ours in here.get(name, ()) for field in ours]
        if not said:
            yield one | {"what": ONLY_AT_IYS}
        elif any(ours and at_iys and ours != at_iys for ours, at_iys in said):
            yield one | {"what": OTHERWISE}
    for name, ours in here.items():
        if name not in theirs and (ours[0]["creation_date"] or until) <= until:
            yield ours[0] | {"what": ONLY_HERE}
    newest = max((one["creation_date"] or "" for one in theirs.values()), default=None)
    nothing = _movement({"transactionid": ""}, str(Registered.NONE))
    last = [one for one in theirs.values() if one["creation_date"] == newest] or [nothing]
    unshown = {Registered.RET, Registered.NONE} if held == Registered.NOT_ONAY else set()
    if held != Registered.UNKNOWN and not {held, *unshown} & {one["status"] for one in last}:
        yield from (one | {"what": STANDING} for one in last)
