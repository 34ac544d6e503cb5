"""The three tellings of one story, key by key: our topics, our ledger, İYS's register.

A difference is explained only by a rule that names it: a consent that came too late to be
registered, a "no" that İYS has nothing to hold against, a record that waits for a person. Anything
else is unexplained, and the demo fails.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from izin.runtime.observe import mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Ending(StrEnum):
    """How a key ended, when all is as it should be."""

    REGISTERED = "registered"
    EXPIRED = "expired"
    KEPT_LOCALLY = "kept_locally"
    PARKED = "parked"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What ``desired-consents`` says of a key."""

    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the ledger says of a key."""

    desired: str
    registered: str
    state: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A key of which the tellings disagree without a reason that we know."""

    key: str
    """With the recipient masked."""
    what: str


@dataclass(slots=True)
class Comparison:
    """What came of comparing."""

    endings: Counter[Ending] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    def blame(self, key: str, what: str) -> None:
        """Note an unexplained difference."""
        head, slash, recipient = key.rpartition("/")
        self.differences.append(Difference(key=f"{head}{slash}{mask(recipient)}", what=what))


def compare(
    wanted: Mapping[str, Wanted],
    kept: Mapping[str, Kept],
    register: Mapping[str, str],
    permitted: Mapping[str, bool],
) -> Comparison:
    """Return how each key ended, and where the tellings differ.

    ``register`` is İYS's status by key; ``permitted`` what ``permissions`` says.
    """
    found = Comparison()
    for key in sorted(wanted.keys() | kept.keys() | register.keys()):
        want, keep, at_iys = wanted.get(key), kept.get(key), register.get(key)
        if want is None or keep is None:
            where = "the topic" if want is None else "the ledger"
            found.blame(key, f"{where} does not know it; İYS holds {at_iys or 'nothing'}")
            continue
        if want.status != keep.desired:
            found.blame(key, f"the topic wants {want.status}, the ledger {keep.desired}")
        if not _agrees(keep.registered, at_iys):
            found.blame(
                key, f"the ledger thinks {keep.registered}, İYS holds {at_iys or 'nothing'}"
            )
        ending = _ending(want.status, keep.state, at_iys)
        if ending is None:
            found.blame(
                key,
                f"wanted {want.status}, İYS holds {at_iys or 'nothing'}, "
                f"state {keep.state} ({keep.why})",
            )
        else:
            found.endings[ending] += 1
        _check_permission(found, key, permitted.get(key), want.status, at_iys)
    return found


def _agrees(registered: str, at_iys: str | None) -> bool:
    match at_iys:
        case None:
            return registered in {"NONE", "NOT_ONAY", "UNKNOWN"}
        case "RET":
            return registered in {"RET", "NOT_ONAY"}
        case _:
            return registered == at_iys


def _ending(want: str, state: str, at_iys: str | None) -> Ending | None:
    if want == at_iys:
        return Ending.REGISTERED
    if want == "RET":
        return Ending.KEPT_LOCALLY if at_iys is None and state == "not_needed" else None
    named = {"expired": Ending.EXPIRED, "parked": Ending.PARKED, "refused": Ending.REFUSED}
    return named.get(state)


def _check_permission(
    found: Comparison, key: str, permitted: bool | None, want: str, at_iys: str | None
) -> None:
    # Merchants and tradesmen need no prior consent, only no "no": Yönetmelik m.6.
    is_merchant = key.split("/")[2] == "TACIR"
    lawful = want != "RET" and (at_iys == "ONAY" or (is_merchant and at_iys is None))
    if permitted and not lawful:
        found.blame(key, "permissions says yes where the law says no")
    elif not permitted and want == "ONAY" and at_iys == "ONAY":
        found.blame(key, "permissions says no where İYS holds the consent")


def regressions(rows: Iterable[tuple[str, tuple[object, ...]]]) -> Iterator[str]:
    """Yield each key whose law order ever goes back; ``rows`` are (key, order) as written."""
    greatest: dict[str, tuple[object, ...]] = {}
    for key, order in rows:
        before = greatest.get(key)
        if before is not None and order < before:
            yield key
        else:
            greatest[key] = order


def repeated(movements: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Yield each movement of ours that İYS accepted more than once."""
    for movement, count in Counter(movements).items():
        if count > 1:
            yield movement
