"""What holds a brand's records back: ``izin brands suspend``, ``resume``, ``rights``, ``retry``.

A person stops a brand's calls to İYS, what may be sent for it, or both; or those of every brand of
a customer. A lost right or subscription suspends by itself. Records of channels without a right are
not sent, for İYS would refuse them (H353). ``parked``, ``requeue``: a person acts.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from shlex import quote
from typing import Annotated, TypeVar

import typer

from izin.cli.terminal import (
    SLASHES,
    BrandArgument,
    ByOption,
    ExecuteOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    RecipientOption,
    end_dry_run,
    exit_if,
    filled,
    named_recipients,
    print_found,
    print_rows,
    say,
    turkish,
)
from izin.cli.terminal.ledger_session import run_cut, run_on_ledger, topic_messages
from izin.consent import Channel, SourceError
from izin.ledger import (
    brands,
    brands as registry,
    reads,
    suspensions as stored,
)
from izin.ledger.db import Ledger
from izin.ledger.reads import Count
from izin.ledger.record import Brand, Suspension
from izin.ledger.registry import suspension_orders
from izin.ledger.registry.suspension_orders import Part, SuspensionOrder, Target
from izin.runtime.plan import Plan, Selection
from izin.views.customers import rights_changes, suspended_and_counted, waiting
from izin.views.cut import Look
from izin.views.remedies import remedy_of_order, remedy_of_parked, remedy_of_suspension
from izin.views.worklist_acts import ending, requeueing, still_suspended

_EFFECTS: Mapping[str, str] = {
    Part.IYS: "submissions to İYS and status queries stop; what İYS shows is still read",
    Part.GATE: "the gate permits nothing commercial",
}
BrandOrCustomer = Annotated[
    int | None,
    typer.Argument(
        min=1, metavar="[BRAND]", help="Code of the brand at İYS (brandCode), or --customer."
    ),
]
EveryBrandOption = Annotated[
    str | None,
    typer.Option("--customer", help="Every brand of this customer, those added later too."),
]
OfBrand = TypeVar("OfBrand", Suspension, Count)
ExactlyOption = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="COUNT", help="All that the brand has for the reason: exactly so many."
    ),
]
PlanOption = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        dir_okay=False,
        help="Where the plan is written, or with --execute the plan that is executed. It names "
        "recipients: delete it afterwards.",
    ),
]
_KIND = "requeue"


class What(StrEnum):
    """What is suspended or resumed."""

    IYS = "iys"
    GATE = "gate"
    BOTH = "both"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that it names."""
        return tuple(Part) if self is What.BOTH else (Part(self),)


WhatOption = Annotated[
    What, typer.Option(help="Calls to İYS (iys), what may be sent (gate), or both.")
]


def suspend(
    brand_code: BrandOrCustomer = None,
    *,
    customer: EveryBrandOption = None,
    what: WhatOption = What.BOTH,
    reason: Annotated[
        str,
        typer.Option(help="Why; published with the brand, so name no person.", callback=filled),
    ],
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Suspend a brand, or every brand of a customer: its calls to İYS, what may be sent, or both.

    With iys, consents and opt-outs wait here until it is resumed; an opt-out's three business days
    go on, so withdraw on İYS's own pages what cannot wait (izin deadlines opt-outs). With gate,
    only information that needs no consent may be sent. Who ordered it is written to the history.
    Exit code 3 if the brand or customer is not registered.
    """
    target = _target(brand_code, customer)
    brands, orders, counts = run_on_ledger(lambda ledger: _look(ledger, target))
    known = {order.part: order for order in orders if order.target == target}
    say(
        *(
            f"{part}: {_suspended(known.get(part))} -> suspended: {reason}; {_EFFECTS[part]}"
            for part in what.parts
        )
    )
    if Part.IYS in what.parts:
        say(f"{waiting(counts)} wait to be sent to İYS")
    end_dry_run(f"{_named(target, brands)} would be suspended", execute=execute)
    run_on_ledger(
        lambda ledger: suspension_orders.suspend(
            *(ledger, topic_messages(), target, what.parts),
            reason=reason,
            by=by,
            now=datetime.now(UTC),
        )
    )
    say(f"{_named(target, brands)} is suspended")


def resume(
    brand_code: BrandOrCustomer = None,
    *,
    customer: EveryBrandOption = None,
    what: WhatOption = What.BOTH,
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """End a suspension that was ordered by izin brands suspend: what waits continues by itself.

    An order on a customer ends by --customer only, an order on a brand by the brand. Who ordered it
    is written to the history. Exit code 3 if there is no such order.
    """
    target = _target(brand_code, customer)
    brands, orders, counts = run_on_ledger(lambda ledger: _look(ledger, target))
    found = [one for one in orders if one.target == target and Part(one.part) in what.parts]
    if not found:
        standing = (suspension_orders.of_brand(brand, orders).values() for brand in brands)
        others = " or ".join(sorted({remedy_of_order(one) for some in standing for one in some}))
        also = f"; it is suspended by another order: {others}" if others else ""
        raise SourceError(f"there is no such order on {_named(target, brands)}{also}")
    parts = [Part(one.part) for one in found]
    say(*(str(ending(one)) for one in found))
    say(*map(str, still_suspended(target, parts, brands, orders)))
    if Part.IYS in parts:
        say(f"{waiting(counts)} wait to be sent to İYS")
    end_dry_run(f"the order on {_named(target, brands)} would be ended", execute=execute)
    run_on_ledger(
        lambda ledger: suspension_orders.resume(
            ledger, topic_messages(), target, parts, by=by, now=datetime.now(UTC)
        )
    )
    say(f"the order on {_named(target, brands)} is ended")


def _target(brand_code: int | None, customer: str | None) -> Target:
    if (brand_code is None) == (customer is None):
        raise typer.BadParameter("name a brand, or a customer with --customer")
    return Target(brand_code, customer)


async def _look(
    ledger: Ledger, target: Target
) -> tuple[tuple[Brand, ...], tuple[SuspensionOrder, ...], tuple[Count, ...]]:
    """Return the brands of a target, every order, and how many of their keys are in which state;
    raises SourceError where it is not registered.
    """
    if target.brand_code is None:
        brands = tuple((await registry.brands_of(ledger, target.customer_id or "")).values())
    else:
        brands = (await registry.registered_brand(ledger, target.brand_code),)
    codes = {brand.brand_code for brand in brands}
    counts = tuple(count for count in await reads.counts(ledger) if count.brand_code in codes)
    return brands, await suspension_orders.every(ledger), counts


def _named(target: Target, brands: Sequence[Brand]) -> str:
    if target.customer_id is None:
        return f"brand {target.brand_code}"
    codes = " ".join(str(brand.brand_code) for brand in brands) or "none yet"
    return f"every brand of customer {target.customer_id} ({codes})"


def _suspended(order: SuspensionOrder | None) -> str:
    if order is None:
        return "not suspended by an order"
    return f"suspended since {turkish(order.since)} by {order.ordered_by}: {order.reason}"


def suspensions(
    *, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE
) -> None:
    """List what is not sent to İYS because a right or subscription is missing, or by an order.

    İYS refused it, or a person set it (izin brands rights, izin brands suspend). Each is retried at
    the time shown, one that a person set never. Exit code 1 if there are any.
    """
    found = run_cut(customer, stored.every, attrgetter("brand_code"))
    print_found(
        output,
        {
            "brand_code": "brand",
            "channel": "channel",
            "status": "status",
            "code": "code",
            "reason": "reason",
            "scope": "scope",
            "since": "since",
            "retry_at": "retried",
            "remedy": "remedy",
        },
        found,
        below=True,
        retry_at=attrgetter("recheck_at"),
        remedy=lambda one: remedy_of_suspension(one, found),
    )
    exit_if(found)


def retry(brand_code: BrandArgument, *, by: ByOption) -> None:
    """Send one record of each suspension of a brand now, after its cause was corrected at İYS.

    If İYS takes it, all resume; else the suspension stays, and is retried later by itself. A token
    is requested at once where the last requests of its account gave none, and its streams are read.
    Who ordered it is written to the history. Exit code 3 if nothing of the brand is suspended that
    can be retried.
    """
    count = run_on_ledger(
        lambda ledger: stored.recheck_now(ledger, brand_code, by=by, now=datetime.now(UTC)),
        brand=brand_code,
    )
    if not count:
        raise SourceError(
            f"no suspension of brand {brand_code} can be retried; see: izin brands suspensions"
        )
    say(f"{count} of what brand {brand_code} waits for are retried now")


def rights(
    brand_code: BrandArgument,
    *,
    types: Annotated[
        list[Channel] | None,
        typer.Option("--type", help="A channel it may write; repeat it for each."),
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="It may write no channel.")] = False,
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Set for which channels a brand has the right to write at İYS: those named, and no others.

    Records of the other channels, ONAY (opt-in) and RET (opt-out) alike, wait here until the right
    is given back, and then continue by themselves. Opt-outs that cannot wait are withdrawn by a
    person on İYS's own pages: izin deadlines opt-outs.
    """
    if bool(types) is none:
        raise typer.BadParameter("name each channel it may write with --type, or say --none")
    channels = frozenset(types or ())
    found, counts = run_on_ledger(
        lambda ledger: suspended_and_counted(ledger, brand_code), brand=brand_code
    )
    lines = rights_changes(brand_code, found, channels, counts)
    say(*map(str, lines))
    if not lines:
        say(f"brand {brand_code} has these rights already")
        return
    end_dry_run(f"the rights of brand {brand_code} would be changed", execute=execute)
    run_on_ledger(
        lambda ledger: stored.set_rights(ledger, brand_code, channels, by=by, now=datetime.now(UTC))
    )
    say(f"the rights of brand {brand_code} are changed")


def concerning(brand_code: int, found: Iterable[OfBrand]) -> tuple[OfBrand, ...]:
    """Return those of ``found`` that concern a brand."""
    return tuple(one for one in found if one.brand_code == brand_code)


def parked(
    *, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE
) -> None:
    """List the records that a person must act on, by reason, with the remedy for each.

    Exit code 1 if there are any.
    """
    found = run_cut(customer, reads.parked, attrgetter("brand_code"))
    print_found(
        output,
        {
            "brand_code": "brand",
            "channel": "channel",
            "desired_status": "desired",
            "reason": "reason",
            "code": "code",
            "keys": "records",
            "remedy": "remedy",
        },
        found,
        below=True,
        remedy=lambda one: remedy_of_parked(one.brand_code, one.reason, all_of=one.keys),
    )
    exit_if(found)


def requeue(
    brand_code: BrandArgument,
    *,
    because: Annotated[
        str | None, typer.Option(help="Only those with this reason (izin brands parked).")
    ] = None,
    recipient: RecipientOption = None,
    exactly: ExactlyOption = None,
    plan: PlanOption,
    execute: ExecuteOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Process parked records of a brand again, and send them where that is lawful.

    Without --execute they are listed, those of --recipient or --exactly, and written to the plan;
    the output is personal data. With it the records in the plan are requeued, but for those that
    have changed since. Requeueing the reason reconsent confirms that each of these recipients has
    given a new consent; retailer-access, that the retailers were changed at İYS; quota-spent with
    --exactly, that there is room again. Who ordered it is written to each record's history. Exit
    code 1 if records of the plan were left out, 3 if nothing, or another number, is parked for the
    reason.
    """
    if execute:
        if because or recipient or exactly:
            raise typer.BadParameter("with --execute the plan alone counts")
        _execute(brand_code, plan, by)
        return
    if because is None or (recipient is None) == (exactly is None):
        raise typer.BadParameter("name --because and either --recipient or --exactly")
    names = frozenset(named_recipients(recipient or ()))
    every = run_on_ledger(
        lambda ledger: reads.parked_keys(ledger, brand_code, because),
        brand=brand_code,
        look=Look(command="brands requeue", by=by, brand=brand_code),
    )
    found = [key for key in every if exactly or names & {key.key, key.key.split("/", SLASHES)[-1]}]
    if not found or exactly not in {None, len(found)}:
        raise SourceError(
            f"brand {brand_code} has {len(found)} such records parked for {because}; "
            "see: izin brands parked"
        )
    Plan(
        kind=_KIND,
        target=str(brand_code),
        selection=Selection(brands=frozenset({brand_code})),
        options={"reason": because, "whole": bool(exactly), "records": [*map(tuple, found)]},
        cluster_id="",
        topics={},
        made_at=datetime.now(UTC),
        by=by,
    ).write(plan)
    print_rows(output, reads.ParkedKey._fields, found)
    say(
        str(requeueing(brand_code, because, len(found))),
        f"{len(found)} records would be requeued; to do it: izin brands requeue {brand_code} "
        f"--plan {quote(str(plan))} --execute",
    )


def _execute(brand_code: int, path: Path, by: str) -> None:
    plan = Plan.read(path, kind=_KIND, target=str(brand_code))
    shown = [
        reads.ParkedKey(key, event_id, datetime.fromisoformat(since))
        for key, event_id, since in plan.options["records"]
    ]
    count = run_on_ledger(
        lambda ledger: brands.requeue(
            ledger,
            topic_messages(),
            brand_code,
            shown,
            reason=plan.options["reason"],
            whole=plan.options["whole"],
            by=by,
            now=datetime.now(UTC),
        )
    )
    say(f"{count} records of brand {brand_code} were requeued")
    if left := len(shown) - count:
        say(f"{left} of them changed since they were listed, and were left alone: list them again")
    exit_if(left)
