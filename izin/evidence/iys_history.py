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
from datetime import datetime
from typing import Any, NamedTuple

from izin.consent import ConsentKey, RecipientType, Registered
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


class ShownMovement(NamedTuple):
    """A movement at İYS as one of both histories has it; None: it does not say that."""

    transaction_id: str
    status: str | None
    creation_date: datetime | None
    consent_date: datetime | None = None
    source: str | None = None

    def agrees_with(self, other: "ShownMovement") -> bool:
        """Whether neither says something else of the movement than the other."""
        return all(
            None in {mine, theirs} or mine == theirs
            for mine, theirs in zip(self, other, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as ``evidence.json`` has it."""
        said = self._asdict().items()
        return {name: one.isoformat() if isinstance(one, datetime) else one for name, one in said}


def is_answer(kind: str, data: object) -> bool:
    """Whether an entry of the history has an answer of İYS, by its kind and content."""
    return kind == "act" and isinstance(data, dict) and data.get("act") == ASKED


def movements_in(key: str, data: Mapping[str, Any]) -> list[ShownMovement] | None:
    """Return the movements in the answer that an act has; None where it cannot be read as a history
    of ``key``.
    """
    try:
        parsed = ConsentKey.parse(key)
        whose = (parsed.recipient.lower(), str(parsed.recipient_type), str(parsed.channel))
        items = [_folded(item) for text in data["after"][ANSWERS] for item in _listed(text)]
        if any(_whose(item) != whose for item in items):
            return None
        return [
            ShownMovement(
                str(item["transactionid"]),
                str(item["status"]),
                instant_of(item["creationdate"]),
                instant_of(item.get("consentdate")),
                item.get("source") or None,
            )
            for item in items
        ]
    except _UNREADABLE:
        return None


def _listed(text: str) -> Iterable[Mapping[str, Any]]:
    return _folded(json.loads(text)).get("list") or ()


def _folded(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object of İYS with its keys in lower case, in which its documents differ."""
    return {name.lower(): one for name, one in value.items()}


def _whose(item: Mapping[str, Any]) -> tuple[str, str, str]:
    recipient_type = item.get("recipienttype") or RecipientType.BIREYSEL
    return str(item["recipient"]).lower(), str(recipient_type), str(item["type"])


def last_answer(facts: Iterable[Fact]) -> Fact | None:
    """Return the last of ``facts`` that has an answer of İYS."""
    found = [fact for fact in facts if is_answer(fact["kind"], fact["data"])]
    return found[-1] if found else None


_Here = dict[tuple[str, str | None], list[tuple[ShownMovement, Mapping[str, int]]]]
"""Our entries of movements with their places, by transaction and status."""


def compared(answer: Fact, facts: Iterable[Fact], *, held: str) -> dict[str, Any]:
    """Return what ``evidence.json`` has of İYS's ``answer``: its movements, each with the places of
    our entries of it, and every difference. ``facts`` are all of the key, and ``held`` is what İYS
    was known to hold when it answered.
    """
    here: _Here = defaultdict(list)
    for fact in facts:
        one = _shown_by(fact)
        if one is not None and one.transaction_id:
            place = {"shard": fact["shard"], "place": fact["place"]}
            here[one.transaction_id, one.status].append((one, place))
    found = movements_in(answer["key"], answer["data"])
    listed, differences = [], []
    for movement in found or ():
        ours = here.get((movement.transaction_id, movement.status), [])
        said = movement.to_json()
        listed.append(said | {"entries": [place for _, place in ours]})
        if not ours:
            differences.append({"what": ONLY_AT_IYS} | said)
        elif not all(movement.agrees_with(one) for one, _ in ours):
            differences.append({"what": OTHERWISE} | said)
    if found is not None:
        differences += _missing(found, here, until=datetime.fromisoformat(answer["occurred_at"]))
        differences += _standing(found, held)
    return {
        "asked_at": answer["occurred_at"],
        "asked_by": answer["data"]["by"],
        "shard": answer["shard"],
        "place": answer["place"],
        "is_readable": found is not None,
        "held": held,
        "movements": listed,
        "differences": differences,
    }


def _shown_by(fact: Fact) -> ShownMovement | None:
    """Return the movement at İYS that an entry of ours has, if it has one."""
    data, at_iys = fact["data"], None
    if fact["kind"] == "decision":
        at_iys = data["event"].get("iys")
    if fact["kind"] not in {"observation", "answer"} and at_iys is None:
        return None
    said = data if at_iys is None else data["event"] | at_iys
    return ShownMovement(
        said.get("transaction_id") or "",
        fact["status"],
        instant_of(said.get("creation_date")),
        instant_of(said.get("consent_date")),
        said.get("source") or None,
    )


def _missing(
    found: Iterable[ShownMovement], here: _Here, *, until: datetime
) -> Iterator[dict[str, Any]]:
    """Yield what our history has and İYS's has not, though it was created ``until`` it answered."""
    theirs = {(one.transaction_id, one.status) for one in found}
    for name, ours in here.items():
        first = ours[0][0]
        if name not in theirs and first.creation_date and first.creation_date <= until:
            yield {"what": ONLY_HERE} | first.to_json()


def _standing(found: Sequence[ShownMovement], held: str) -> Iterator[dict[str, Any]]:
    """Yield İYS's last movement where it is not what İYS was ``held`` to have; of one second there
    may be several, and one that agrees is enough.
    """
    newest = max((one.creation_date for one in found if one.creation_date), default=None)
    nothing = ShownMovement("", str(Registered.NONE), None)
    last = [one for one in found if one.creation_date == newest] or [nothing]
    agreeing = {held}
    if held == Registered.NOT_ONAY:
        agreeing |= {Registered.RET, Registered.NONE}
    if held != Registered.UNKNOWN and not agreeing & {one.status for one in last}:
        yield from ({"what": STANDING} | one.to_json() for one in last)
