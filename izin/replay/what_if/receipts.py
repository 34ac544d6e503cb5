"""Which answers of the gate were wrong by other settings: receipts against changed answers."""

import bisect
from collections.abc import Iterable, Iterator, Sequence

from izin.consent.message_classes import CLASSES, MessageClass, MessageKind
from izin.replay.what_if.answers import ChangedAnswer
from izin.replay.what_if.facts import AskedReceipt

_EXEMPT = frozenset(one for one in MessageClass if CLASSES[one].kind is MessageKind.EXEMPT)
"""No setting says anything about these messages."""


def wrong_answers(
    receipts: Iterable[AskedReceipt], changed: Sequence[ChangedAnswer]
) -> Iterator[tuple[AskedReceipt, ChangedAnswer]]:
    """Yield each receipt whose answer is another by the other settings, with what they say.

    A yes is wrong where they say no. A no is wrong where they say yes, and the gate said no for
    what has changed: not where it was stale, say, or the brand suspended. ``changed`` is in order.
    """
    starts = [one.span.since for one in changed]
    for receipt in receipts:
        place = bisect.bisect_right(starts, receipt.asked_at) - 1
        if place < 0 or receipt.message_class in _EXEMPT:
            continue
        found = changed[place]
        is_over = found.span.until is not None and receipt.asked_at >= found.span.until
        if is_over or receipt.may_send == found.after.may_send:
            continue
        if receipt.may_send or receipt.reason == found.before.reason:
            yield receipt, found
