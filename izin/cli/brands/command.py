"""``izin brands``: the brand registry. Who owns a brand, since when the term of three business days
applies, by which account and address it is submitted, and what İYS shows of its subscription.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import typer

from izin.cli.brands import retailers, suspensions
from izin.cli.brands.suspensions import concerning
from izin.cli.terminal import (
    BrandArgument,
    ByOption,
    ExecuteOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    exit_if,
    filled,
    instant,
    print_found,
    print_rows,
    say,
    turkish,
)
from izin.cli.terminal.ledger_session import run_on_ledger, topic_messages
from izin.consent import Channel
from izin.ledger import brands as registry, suspensions as stored
from izin.ledger.automatic_suspension import decisions
from izin.ledger.db import Ledger
from izin.ledger.reads import Count
from izin.ledger.record import EVERY, ORDERED, Brand, Suspension
from izin.ledger.registry import suspension_orders
from izin.ledger.registry.suspension_orders import Part, SuspensionOrder, of_brand
from izin.sinks.monitor.accounts import warnings_of
from izin.views.customers import brand_changes, brand_plan, suspended_and_counted
from izin.views.cut import cut_to
from izin.views.remedies import remedy_of_automatic, remedy_of_order

_UNSETTLED = frozenset(
    {"pending", "retryable", "in_flight", "awaiting_result", "unknown", "parked"}
)
_ANY = "any"


def changes(known: Brand, brand: Brand) -> list[str]:
    """Return, a line each, what a change to ``brand`` changes for records that exist already."""
    return [
        f"{one.title}: {_shown(one.before)} -> {_shown(one.after)}"
        for one in brand_changes(known, brand)
    ]


def described(
    brand: Brand,
    suspensions: Iterable[Suspension],
    counts: Iterable[Count],
    orders: Iterable[SuspensionOrder] = (),
    automatic: Iterable[decisions.AutomaticSuspension] = (),
    *,
    now: datetime,
) -> list[tuple[str, str, str]]:
    """Return one row for each field of a brand: its value, and a warning or nothing."""
    used = "" if brand.consents_used is None else f", {brand.consents_used:,} addresses used"
    limit = "" if brand.consent_limit is None else f" of {brand.consent_limit:,}"
    queried = (
        "never queried" if brand.queried_at is None else f"queried {turkish(brand.queried_at)}"
    )
    return [
        ("brand", f"{brand.brand_code} {brand.name}", ""),
        ("İYS code", str(brand.iys_code), ""),
        ("customer", brand.customer_id, ""),
        (
            "status",
            brand.status,
            "" if brand.status == "active" else "nothing of it is sent to İYS",
        ),
        (
            "active since",
            turkish(brand.activated_at) or "-",
            "" if brand.activated_at else "first loading: the three-day term does not apply yet",
        ),
        ("load by", turkish(brand.loading_deadline) or "-", ""),
        ("account", brand.account or _ANY, ""),
        ("address", brand.egress_address or _ANY, ""),
        (
            "subscription",
            f"{brand.subscription or 'unknown'}{used}{limit}; {queried}",
            "; ".join(warnings_of(brand, now)),
        ),
        (
            "ViA credit",
            "not shown by İYS" if brand.via_credit is None else f"{brand.via_credit:,}",
            "İYS asks nobody for consent (H1015)" if brand.via_credit == 0 else "",
        ),
        *_orders(brand, orders),
        *(
            (
                f"{suspension.words} of {suspension.source}",
                f"{suspension.held_back:,} held back",
                str(remedy_of_automatic(suspension)),
            )
            for suspension in automatic
            if suspension.brand_code == brand.brand_code
        ),
        *_rights(suspensions),
        *_unsettled(counts),
    ]


def _orders(brand: Brand, orders: Iterable[SuspensionOrder]) -> Iterable[tuple[str, str, str]]:
    found = of_brand(brand, orders)
    for part, title in ((Part.IYS, "calls to İYS"), (Part.GATE, "gate")):
        one = found.get(part)
        if one is None:
            yield title, "not suspended", ""
        else:
            since = f"since {turkish(one.since)} by {one.ordered_by}; {remedy_of_order(one)}"
            yield title, f"suspended: {one.reason}", since


def _rights(suspensions: Iterable[Suspension]) -> Iterable[tuple[str, str, str]]:
    latest = {
        (suspension.channel, suspension.status): suspension
        for suspension in suspensions
        if suspension.code != ORDERED
    }
    for channel in Channel:
        lost = [one for one in latest.values() if one.channel in {channel, EVERY}]
        why = "; ".join(f"{one.reason}, since {turkish(one.since)}" for one in lost)
        yield f"right to {channel}", "no" if lost else "write", why


def _unsettled(counts: Iterable[Count]) -> Iterable[tuple[str, str, str]]:
    keys = Counter[tuple[str, str]]()
    for one in counts:
        if one.state in _UNSETTLED:
            keys[one.channel, one.state] += one.keys
    for (channel, state), count in sorted(keys.items()):
        see = "see: izin brands parked" if state == "parked" else ""
        yield f"{channel} {state}", f"{count:,}", see


def _shown(value: object) -> str:
    return turkish(value) if isinstance(value, datetime) else str(value or _ANY)


app = typer.Typer(
    help="Register the brands whose consents are managed, and see what each may write at İYS.\n\n"
    "A brand is a sender that is registered at İYS, Turkey's national register of consents, under "
    "a code (brandCode). Each consent is given to one brand, for one channel: ARAMA (calls), "
    "MESAJ (text messages) or EPOSTA (e-mail).",
    no_args_is_help=True,
)


@app.command()
def add(
    brand_code: BrandArgument,
    *,
    iys_code: Annotated[int, typer.Option(min=1, help="İYS code of the provider (iysCode).")],
    customer: Annotated[
        str, typer.Option(help="Who owns the brand (izin customers).", callback=filled)
    ],
    name: Annotated[str, typer.Option(help="Name of the brand.", callback=filled)],
    activated_at: Annotated[
        datetime | None,
        typer.Option(
            parser=instant,
            metavar="DATE",
            help="Since when it is active at İYS, in Turkish time, as 2024-01-31T12:00 (or with an "
            "offset). Leave it out in first loading, while a new brand loads its old consents.",
        ),
    ] = None,
    loading_deadline: Annotated[
        datetime | None,
        typer.Option(parser=instant, metavar="DATE", help="End of first loading, in Turkish time."),
    ] = None,
    stopped: Annotated[
        bool, typer.Option("--stopped", help="Send nothing of this brand to İYS.")
    ] = False,
    account: Annotated[
        str | None, typer.Option(help="API user that submits it; empty: any (IYS_USERNAME).")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Address it is submitted from; empty: any (IYS_EGRESS_ADDRESS)."),
    ] = None,
    former: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="CUSTOMER", help="Who has the brand now, where it moves to another."
        ),
    ] = None,
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Register a brand, or change it.

    A sink worker then publishes it to producers. A change that affects existing records is only
    printed unless --execute is given. Who ordered it is written to the history. Exit code 3 if its
    customer is not registered or was offboarded, or another customer has the brand and --from does
    not name it.
    """
    brand = Brand(
        brand_code=brand_code,
        iys_code=iys_code,
        customer_id=customer,
        name=name,
        activated_at=activated_at,
        loading_deadline=loading_deadline,
        status="stopped" if stopped else "active",
        account=account,
        egress_address=address,
    )
    _add(brand, former, by=by, execute=execute)


def _add(brand: Brand, former: str | None, *, by: str, execute: bool) -> None:
    code = brand.brand_code
    plan = run_on_ledger(lambda ledger: brand_plan(ledger, brand, former))
    known = plan.known
    if known is not None and plan.changes and not execute:
        say(
            *changes(known, brand),
            f"{plan.unsettled} unsettled records are affected; add --execute to change brand "
            f"{code}",
        )
        return
    stored = run_on_ledger(
        lambda ledger: registry.upsert(
            ledger, topic_messages(), brand, by=by, now=datetime.now(UTC)
        )
    )
    if known is None:
        say(f"brand {code} is registered")
    elif known == stored:
        say(f"brand {code} is unchanged; terms and permissions of its records were recomputed")
    else:
        say(f"brand {code} is changed")


@app.command("list")
def list_(*, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the brands: for which channels each has the right to write, and what is suspended by
    izin brands suspend (iys: its calls to İYS; gate: what may be sent).
    """
    brands, found, orders = run_on_ledger(lambda ledger: _every(ledger, customer))
    print_found(
        output,
        {
            "brand_code": "brand",
            "iys_code": "İYS code",
            "customer_id": "customer",
            "name": "name",
            "activated_at": "active since",
            "loading_deadline": "load by",
            "status": "status",
            "account": "account",
            "egress_address": "address",
            "subscription": "subscription",
            "rights": "rights",
            "suspended": "suspended",
        },
        brands,
        rights=lambda one: " ".join(stored.rights(concerning(one.brand_code, found))) or "none",
        suspended=lambda one: " ".join(sorted(suspension_orders.of_brand(one, orders))),
    )


@app.command()
def show(brand_code: BrandArgument, *, output: OutputOption = OutputFormat.TABLE) -> None:
    """Print all data of a brand: terms, route, subscription, suspensions, rights, open records.

    Times are Turkish. Exit code 1 if anything needs a person.
    """
    rows = run_on_ledger(lambda ledger: _described(ledger, brand_code))
    print_rows(output, ("field", "value", "warning"), rows)
    exit_if([warning for _, _, warning in rows if warning])


async def _every(
    ledger: Ledger, customer: str | None
) -> tuple[tuple[Brand, ...], tuple[Suspension, ...], tuple[SuspensionOrder, ...]]:
    cut = await cut_to(ledger, customer)
    return (
        tuple(brand for brand in await registry.every(ledger) if cut.has(brand.brand_code)),
        await stored.every(ledger),
        await suspension_orders.every(ledger),
    )


async def _described(ledger: Ledger, brand_code: int) -> list[tuple[str, str, str]]:
    brand = await registry.registered_brand(ledger, brand_code)
    return described(
        brand,
        *await suspended_and_counted(ledger, brand_code),
        await suspension_orders.every(ledger),
        await decisions.undecided(ledger),
        now=datetime.now(UTC),
    )


for command in (
    suspensions.rights,
    suspensions.suspend,
    suspensions.resume,
    suspensions.parked,
    retailers.retailers,
    suspensions.suspensions,
    suspensions.retry,
    suspensions.requeue,
):
    app.command()(command)
