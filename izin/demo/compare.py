"""Compare topics, ledger and İYS's register key by key.

A difference is explained only by a rule that names it: a consent that came too late to be
registered, an opt-out that İYS has no consent to withdraw for, a parked record. Any other is
unexplained, and the demo fails.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from izin.consent.fold import outranks
from izin.consent.model import Order
from izin.runtime.masking import mask


class FinalState(StrEnum):
    """How a key ended, when all is as it should be."""

    REGISTERED = "registered"
    EXPIRED = "expired"
    LOCAL_ONLY = "local_only"
    PARKED = "parked"
    REFUSED = "refused"


class DesiredState(NamedTuple):
    """What ``desired-consents`` says of a key."""

    status: str
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerState:
    """The ledger's record of a key."""

    desired: str
    registered: str
    state: str
    reason: str = ""
    void_event_id: str | None = None
    """The event of an opt-in that İYS never gets, where the opt-out before it is due again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDifference:
    """An unexplained difference."""

    key: str
    """With the recipient masked."""
    what: str


@dataclass(slots=True)
class Comparison:
    """The result of a comparison."""

    final_states: Counter[FinalState] = field(default_factory=Counter)
    differences: list[KeyDifference] = field(default_factory=list)

    def add(self, key: str, what: str) -> None:
        """Add an unexplained difference."""
        head, slash, recipient = key.rpartition("/")
        self.differences.append(KeyDifference(key=f"{head}{slash}{mask(recipient)}", what=what))


def compare(
    desired: Mapping[str, DesiredState],
    ledger: Mapping[str, LedgerState],
    register: Mapping[str, str],
    permitted: Mapping[str, bool],
) -> Comparison:
    """Return how each key ended, and the unexplained differences. All arguments are by key.

    ``desired`` is what ``desired-consents`` has, ``register`` the status at İYS, ``permitted`` the
    state in ``permissions``.
    """
    found = Comparison()
    for key in sorted(desired.keys() | ledger.keys() | register.keys()):
        wanted, ours, at_iys = desired.get(key), ledger.get(key), register.get(key)
        if wanted is None or ours is None:
            where = "the topic" if wanted is None else "the ledger"
            found.add(key, f"{where} does not know it; İYS holds {at_iys or 'nothing'}")
            continue
        status = "RET" if wanted.event_id == ours.void_event_id else wanted.status
        if status != ours.desired:
            found.add(key, f"the topic wants {status}, the ledger {ours.desired}")
        if not _agrees(ours.registered, at_iys):
            found.add(key, f"the ledger thinks {ours.registered}, İYS holds {at_iys or 'nothing'}")
        final = _final_state(status, ours.state, at_iys)
        if final is None:
            found.add(
                key,
                f"desired {status}, İYS holds {at_iys or 'nothing'}, "
                f"state {ours.state} ({ours.reason})",
            )
        else:
            found.final_states[final] += 1
        _check_permission(found, key, permitted.get(key), status, at_iys)
    return found


def _agrees(registered: str, at_iys: str | None) -> bool:
    match at_iys:
        case None:
            return registered in {"NONE", "NOT_ONAY", "UNKNOWN"}
        case "RET":
            return registered in {"RET", "NOT_ONAY"}
        case _:
            return registered == at_iys


def _final_state(desired: str, state: str, at_iys: str | None) -> FinalState | None:
    if desired == at_iys:
        return FinalState.REGISTERED
    if desired == "RET":
        return FinalState.LOCAL_ONLY if at_iys is None and state == "not_needed" else None
    named = {
        "expired": FinalState.EXPIRED,
        "parked": FinalState.PARKED,
        "refused": FinalState.REFUSED,
    }
    return named.get(state)


def _check_permission(
    found: Comparison, key: str, permitted: bool | None, desired: str, at_iys: str | None
) -> None:
    # Merchants and tradesmen need no prior consent, only no opt-out: Yönetmelik m.6.
    is_merchant = key.split("/")[2] == "TACIR"
    lawful = desired != "RET" and (at_iys == "ONAY" or (is_merchant and at_iys is None))
    if permitted and not lawful:
        found.add(key, "permissions says yes where the law says no")
    elif not permitted and desired == "ONAY" and at_iys == "ONAY":
        found.add(key, "permissions says no where İYS holds the consent")


def regressions(rows: Iterable[tuple[str, Order]]) -> Iterator[str]:
    """Yield each key whose law order ever decreases; ``rows`` are (key, order) as written."""
    greatest: dict[str, Order] = {}
    for key, order in rows:
        before = greatest.get(key)
        if before is not None and outranks(before, order):
            yield key
        else:
            greatest[key] = order


def repeated(movements: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Yield each movement that İYS accepted more than once."""
    yield from (movement for movement, count in Counter(movements).items() if count > 1)
