"""A brand with registered opt-ins whose customer has set limits, and mass opt-outs of it."""

from collections.abc import Iterable
from functools import partial

from izin.consent import ConsentEvent
from izin.ledger.automatic_suspension import decisions
from izin.ledger.automatic_suspension.counting import SuspensionLimits, set_limits
from izin.ledger.automatic_suspension.decisions import AutomaticSuspension, SuspensionDecision
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay, ret
from tests.support.builders import CUSTOMER

OPT_INS = 20
LIMITS = SuspensionLimits(share=20, at_least=3)
"""Of twenty recipients four may opt out within an hour."""
ALLOWED = 4


async def set_brake(harness: SinkHarness, limits: SuspensionLimits | None = LIMITS) -> None:
    """Set the limits of our customer, or take them away."""
    await set_limits(harness.ledger, CUSTOMER, limits, by="ada", now=harness.clock())


async def opted_in(harness: SinkHarness, limits: SuspensionLimits | None = LIMITS) -> None:
    """Register opt-ins at İYS, and set the limits of their customer."""
    await harness.register(*(onay(a_phone(number), minutes=60) for number in range(OPT_INS)))
    await set_brake(harness, limits)


def opt_outs(numbers: Iterable[int], *, origin: str = "crm", **more: object) -> list[ConsentEvent]:
    """Return the opt-outs of recipients that one source sends."""
    return [ret(a_phone(number), origin=origin, **more) for number in numbers]


async def suspend(
    harness: SinkHarness, count: int = ALLOWED + 1, origin: str = "crm"
) -> AutomaticSuspension:
    """Opt out more recipients than the limits allow; return the suspension."""
    await opted_in(harness)
    await harness.ingest(*opt_outs(range(count), origin=origin))
    (suspension,) = await decisions.undecided(harness.ledger)
    assert (suspension.source, suspension.held_back) == (origin, count)
    return suspension


async def held_back(harness: SinkHarness) -> set[str]:
    """Return the recipients whose opt-outs are held back."""
    rows = await harness.ledger.fetch(
        "SELECT recipient FROM consents WHERE brake_id IS NOT NULL AND state = 'pending'"
    )
    return {row["recipient"] for row in rows}


async def submit_all(harness: SinkHarness) -> dict[str, str]:
    """Submit every opt-out that may go; return what İYS holds then."""
    while await harness.opt_out():
        await harness.settle()
    return {one: status for one, status in harness.iys.register().items() if status == "RET"}


async def carry_out(
    harness: SinkHarness, suspension: AutomaticSuspension, decision: SuspensionDecision, reason: str
) -> tuple[int, int]:
    """Carry a decision out about what ``suspension`` holds back."""
    messages, now = harness.context.topic_messages, harness.clock()
    return await decisions.carry_out(
        harness.ledger, messages, suspension, decision, reason=reason, by="ada", now=now
    )


withdraw = partial(carry_out, decision=SuspensionDecision.WITHDRAWN, reason="wrong list")
release = partial(carry_out, decision=SuspensionDecision.RELEASED, reason="a closed branch")
