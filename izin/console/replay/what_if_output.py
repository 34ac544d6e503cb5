"""What a what-if found, in words: counts, wrong answers of the gate, and what to do next."""

from collections.abc import Iterable, Iterator
from typing import Any

from izin.console.terminal.output import turkish
from izin.replay.what_if.changes import Change, ChangeKind
from izin.replay.what_if.obligations import Fulfilment
from izin.replay.what_if.results import WhatIfResult
from izin.runtime.masking import mask

COUNTS = {
    "brand": "brand",
    "change": "change",
    "from": "from",
    "to": "to",
    "recipients": "recipients",
}
_STEPS = {
    f"ONAY {Fulfilment.TOO_LATE}": "İYS holds consents that are void (Yönetmelik m.7/12), and "
    "keeps them: publish an opt-out of today for each (RET, HS_KARAR), which stops messages at "
    "once, then ask the recipient again; beside the void one a new consent is not registered",
    f"ONAY {Fulfilment.OPEN}": "consents had expired too early: once every sink worker has the "
    "right settings, izin deadlines rule-again makes them due again",
    f"ONAY {Fulfilment.EXPIRED}": "the term of consents has ended: ask these recipients again",
    f"RET {Fulfilment.BREACH}": "opt-outs were reported too late: that stands, and counsel should "
    "know",
    f"RET {Fulfilment.OVERDUE}": "opt-outs are overdue: izin deadlines opt-outs BRAND writes what "
    "a person withdraws on İYS's own pages",
}
_SENT = (
    "messages were permitted that the right settings forbid: stop the campaigns, and let counsel "
    "know which recipients"
)


def count_rows(found: WhatIfResult) -> list[tuple[object, ...]]:
    """Return a row for each kind of change of a brand."""
    return [
        (one.brand_code, str(one.kind), one.before, one.after, one.recipients)
        for one in found.counts
    ]


def facts_of(found: WhatIfResult) -> dict[str, Any]:
    """Return the figures of a result."""
    return {
        "recipients": found.keys,
        "erased": found.erased,
        "unreadable_facts": found.unreadable,
        "sent_by_wrong_answers": found.sent,
        "withheld_by_wrong_answers": found.withheld,
        "digest": found.digest,
    }


def wrong_lines(changes: Iterable[tuple[str, Change]]) -> Iterator[str]:
    """Yield a line for each wrong answer, with the recipient masked."""
    for key, change in changes:
        brand, channel, recipient_type, recipient = key.split("/", 3)
        yield (
            f"{change.kind}: {mask(recipient)} {channel} {recipient_type} {brand}, "
            f"{turkish(change.since)}: {change.before}, right is {change.after}; {change.about}"
        )


def next_steps(found: WhatIfResult) -> list[str]:
    """Return what to do about a result."""
    reached = {one.after for one in found.counts if one.kind is ChangeKind.OBLIGATION}
    steps = [step for state, step in _STEPS.items() if state in reached]
    if found.sent:
        steps.insert(0, _SENT)
    if found.erased:
        steps.append("of those who were erased nothing is left: who they were is not known")
    return steps
