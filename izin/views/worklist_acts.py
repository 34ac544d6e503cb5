"""What a person does about items of the worklist: first what would be done, then it is done.

The plan is of the items as they were shown; its digest tells whether they still are so.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from izin.consent import ActionReason
from izin.ledger import brands, retailers, suspensions
from izin.ledger.automatic_suspension import decisions
from izin.ledger.automatic_suspension.decisions import AutomaticSuspension, SuspensionDecision
from izin.ledger.db import Ledger
from izin.ledger.reads import ParkedKey
from izin.ledger.record import ORDERED, Brand, Suspension, TopicMessages
from izin.ledger.registry import suspension_orders
from izin.ledger.registry.suspension_orders import Part, SuspensionOrder, Target
from izin.views.remedies import held_back, remedy_of_order
from izin.views.sentences import Sentence, sentence
from izin.views.worklist import Need, WorkItem


class WorkAct(StrEnum):
    """What is done about items."""

    REQUEUE = "requeue"
    RELEASE = "release"
    WITHDRAW = "withdraw"
    RETRY = "retry"
    LIFT = "lift"

    @property
    def label(self) -> str:
        """What a button says, in English."""
        return _TITLES[self]

    def is_for(self, item: WorkItem) -> bool:
        """Return whether it can be done about ``item``."""
        match item.of:
            case None:
                return self is WorkAct.REQUEUE and item.kind in {Need.PARKED, Need.RETAILERS}
            case AutomaticSuspension():
                return self in {WorkAct.RELEASE, WorkAct.WITHDRAW}
            case Suspension():
                return self is (
                    WorkAct.LIFT
                    if item.of.code == ORDERED
                    else None
                    if item.of.is_by_operator
                    else WorkAct.RETRY
                )


_TITLES: Mapping[WorkAct, str] = {
    WorkAct.REQUEUE: "Process again",
    WorkAct.RELEASE: "Release",
    WorkAct.WITHDRAW: "Withdraw",
    WorkAct.RETRY: "Try now",
    WorkAct.LIFT: "Lift the suspension",
}
_DECISIONS = {
    WorkAct.RELEASE: SuspensionDecision.RELEASED,
    WorkAct.WITHDRAW: SuspensionDecision.WITHDRAWN,
}
EFFECTS: Mapping[SuspensionDecision, str] = {
    SuspensionDecision.RELEASED: "they are registered at İYS, which is final",
    SuspensionDecision.WITHDRAWN: "they would not be registered at İYS",
}
"""What a decision about what is held back means."""
_ATTESTED: Mapping[str, str] = {
    str(ActionReason.RECONSENT): "this confirms that each of these recipients has given a new "
    "consent",
    retailers.DIFFERENCE: "this confirms that İYS was given the retailers",
    brands.QUOTA_SPENT: "this confirms that the quota was raised",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActPlan:
    """What an act would do."""

    act: WorkAct
    items: Sequence[WorkItem]
    """Those about which it can be done."""
    lines: Sequence[Sentence]
    """What it means."""
    is_whole: bool
    """Whether it is about all of its kind that the brand has for the reason."""

    @property
    def digest(self) -> str:
        """What tells whether another plan is the same."""
        # What is held back may have grown; behind a suspension more waits all the time.
        shown = sorted(
            (one.kind, one.id, one.event_id, str(one.since), len(_held([one])) and one.records)
            for one in self.items
        )
        return sha256(repr((self.act, self.is_whole, shown)).encode()).hexdigest()


async def plan(
    ledger: Ledger, act: WorkAct, items: Iterable[WorkItem], *, is_whole: bool = False
) -> ActPlan:
    """Return what an act would do about those of ``items`` for which it is; nothing is changed."""
    chosen = [item for item in items if act.is_for(item)]
    lines: list[Sentence] = []
    match act:
        case WorkAct.REQUEUE:
            lines += [
                requeueing(brand, reason, len(shown))
                for (brand, reason), shown in _parked(chosen).items()
            ]
        case WorkAct.RELEASE | WorkAct.WITHDRAW:
            lines += [*map(held_back, _held(chosen)), sentence(EFFECTS[_DECISIONS[act]])]
        case WorkAct.RETRY:
            retried = (
                "one record of each suspension of brand %(brand)s is sent now; if İYS takes it, "
                "all resume"
            )
            lines += [sentence(retried, brand=brand) for brand in _brands(chosen)]
        case WorkAct.LIFT:
            known, orders = await brands.every(ledger), await suspension_orders.every(ledger)
            for target, order in _orders(chosen, known, orders).items():
                of_target = [brand for brand in known if target.covers(brand)]
                lines += [ending(order), *still_suspended(target, [Part.IYS], of_target, orders)]
    return ActPlan(act=act, items=chosen, lines=lines, is_whole=is_whole)


async def carry_out(  # noqa: PLR0913  # what, why, and by whose order
    ledger: Ledger,
    topic_messages: TopicMessages,
    planned: ActPlan,
    *,
    reason: str,
    by: str,
    now: datetime,
) -> list[Sentence]:
    """Do what was planned; return what was done. What has changed since is left alone.

    The history of each has who ordered it, ``by``, and the ``reason`` of a decision about what is
    held back.

    Raises:
        DecidedSuspensionError: it was decided otherwise.
    """
    done: list[Sentence] = []
    match planned.act:
        case WorkAct.REQUEUE:
            return await _requeue(ledger, topic_messages, planned, by=by, now=now)
        case WorkAct.RELEASE | WorkAct.WITHDRAW:
            return await decide(
                *(ledger, topic_messages, _held(planned.items), _DECISIONS[planned.act]),
                reason=reason,
                by=by,
                now=now,
            )
        case WorkAct.RETRY:
            for brand in _brands(planned.items):
                count = await suspensions.recheck_now(ledger, brand, by=by, now=now)
                done.append(
                    sentence(
                        "%(count)s of what brand %(brand)s waits for are retried now",
                        count=count,
                        brand=brand,
                    )
                )
        case WorkAct.LIFT:
            known, orders = await brands.every(ledger), await suspension_orders.every(ledger)
            for target in _orders(planned.items, known, orders):
                await suspension_orders.resume(
                    ledger, topic_messages, target, [Part.IYS], by=by, now=now
                )
                done.append(sentence("the order on %(target)s is ended", target=named(target)))
    return done


async def _requeue(
    ledger: Ledger, topic_messages: TopicMessages, planned: ActPlan, *, by: str, now: datetime
) -> list[Sentence]:
    done = []
    for (brand, why), shown in _parked(planned.items).items():
        count = await brands.requeue(
            *(ledger, topic_messages, brand, shown),
            reason=why,
            whole=planned.is_whole,
            by=by,
            now=now,
        )
        message = "%(count)s records of brand %(brand)s are processed again"
        done.append(sentence(message, count=count, brand=brand))
        if left := len(shown) - count:
            done.append(sentence("%(count)s had changed, and were left alone", count=left))
    return done


def requeueing(brand_code: int, reason: str, count: int) -> Sentence:
    """Return what it means to requeue so many records that are parked for a reason."""
    return sentence(
        "%(count)s records of brand %(brand)s would be processed again: %(meaning)s",
        count=count,
        brand=brand_code,
        meaning=sentence(_ATTESTED.get(reason, "they are sent where that is lawful")),
    )


async def decide(  # noqa: PLR0913  # about what, why, and by whose order
    ledger: Ledger,
    topic_messages: TopicMessages,
    found: Iterable[AutomaticSuspension],
    decision: SuspensionDecision,
    *,
    reason: str,
    by: str,
    now: datetime,
) -> list[Sentence]:
    """Carry a decision out about all that is held back; return what was done. Raises as
    :func:`carry_out` does.
    """
    done = []
    for one in found:
        count, due = await decisions.carry_out(
            ledger, topic_messages, one, decision, reason=reason, by=by, now=now
        )
        done.append(
            sentence(
                "%(count)s %(words)s of %(source)s for brand %(brand)s are %(decision)s",
                count=count,
                words=sentence(one.words),
                source=one.source,
                brand=one.brand_code,
                decision=sentence(decision),
            )
        )
        if due:
            done.append(
                sentence(
                    "%(count)s of another source, of the same recipients, are registered from now "
                    "on",
                    count=due,
                )
            )
    return done


def ending(order: SuspensionOrder) -> Sentence:
    """Return what the end of an order ends."""
    return sentence(
        "%(part)s: suspended since %(since)s by %(by)s: %(reason)s -> resumed",
        part=order.part,
        since=order.since,
        by=order.ordered_by,
        reason=order.reason,
    )


def still_suspended(
    target: Target,
    parts: Collection[Part],
    of_target: Iterable[Brand],
    orders: Iterable[SuspensionOrder],
) -> list[Sentence]:
    """Return which brands of a target stay suspended once its orders on ``parts`` end."""
    left = [one for one in orders if one.target != target or Part(one.part) not in parts]
    return [
        sentence(
            "%(part)s: brand %(brand)s stays suspended; see %(order)s",
            part=part,
            brand=brand.brand_code,
            order=remedy_of_order(order),
        )
        for brand in of_target
        for part, order in suspension_orders.of_brand(brand, left).items()
        if Part(part) in parts
    ]


def named(target: Target) -> Sentence:
    """Return a target by its name."""
    if target.customer_id is None:
        return sentence("the brand %(brand)s", brand=target.brand_code)
    return sentence("every brand of customer %(customer)s", customer=target.customer_id)


def _parked(items: Iterable[WorkItem]) -> Mapping[tuple[int, str], list[ParkedKey]]:
    found: dict[tuple[int, str], list[ParkedKey]] = defaultdict(list)
    for one in items:
        found[one.brand_code or 0, one.reason].append(ParkedKey(one.id, one.event_id, one.since))
    return found


def _held(items: Iterable[WorkItem]) -> list[AutomaticSuspension]:
    return [one.of for one in items if isinstance(one.of, AutomaticSuspension)]


def _brands(items: Iterable[WorkItem]) -> list[int]:
    return sorted({one.brand_code for one in items if one.brand_code is not None})


def _orders(
    items: Iterable[WorkItem], known: Iterable[Brand], orders: Sequence[SuspensionOrder]
) -> Mapping[Target, SuspensionOrder]:
    """Return the orders by which the calls of the brands of ``items`` are suspended."""
    codes = _brands(items)
    return {
        order.target: order
        for brand in known
        if brand.brand_code in codes
        and (order := suspension_orders.of_brand(brand, orders).get(Part.IYS)) is not None
    }
