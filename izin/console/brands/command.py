"""``izin brands``: the brand registry. Who owns a brand, since when the term of three business days
applies, by which account and address it is submitted, and what İYS shows of its subscription.
"""

from datetime import UTC, datetime
from typing import Annotated

import typer

from izin.console.brands import parked, suspensions
from izin.console.brands.description import (
    changes,
    concerning,
    described,
    suspended_and_counted,
    unsettled,
)
from izin.console.terminal.arguments import (
    BrandArgument,
    ByOption,
    OneCustomerOption,
    filled,
    instant,
)
from izin.console.terminal.ledger_session import cut_to, run_on_ledger, topic_messages
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    cells,
    exit_if,
    print_rows,
    say,
)
from izin.sinks.ledger import brands as registry
from izin.sinks.ledger import reads
from izin.sinks.ledger import suspensions as standing
from izin.sinks.ledger.brake import decisions
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.reads import Count
from izin.sinks.ledger.registry import customers, suspension_orders
from izin.sinks.ledger.registry.customer_brands import registered_brand
from izin.sinks.ledger.registry.suspension_orders import SuspensionOrder
from izin.sinks.record.brand import Brand
from izin.sinks.record.errors import BrandOfAnotherError
from izin.sinks.record.suspension import Suspension

app = typer.Typer(
    help="Register the brands whose consents are managed, and see what each may write at İYS.\n\n"
    "A brand is a sender that is registered at İYS, Turkey's national register of consents, under "
    "a code (brandCode). Each consent is given to one brand, for one channel: ARAMA (calls), "
    "MESAJ (text messages) or EPOSTA (e-mail).",
    no_args_is_help=True,
)

_COLUMNS = {
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
}


ActivatedOption = Annotated[
    datetime | None,
    typer.Option(
        parser=instant,
        metavar="DATE",
        help="Since when it is active at İYS, in Turkish time, as 2024-01-31T12:00 (or with an "
        "offset). Leave it out in first loading, while a new brand loads its old consents.",
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="CUSTOMER", help="Who has the brand now, where it moves to another."
    ),
]


@app.command()
def add(
    brand_code: BrandArgument,
    *,
    iys_code: Annotated[int, typer.Option(min=1, help="İYS code of the provider (iysCode).")],
    customer: Annotated[
        str, typer.Option(help="Who owns the brand (izin customers).", callback=filled)
    ],
    name: Annotated[str, typer.Option(help="Name of the brand.", callback=filled)],
    activated_at: ActivatedOption = None,
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
    former: FromOption = None,
    by: ByOption,
    execute: Annotated[
        bool, typer.Option("--execute", help="Make a change that affects existing records.")
    ] = False,
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
    known, counts = run_on_ledger(lambda ledger: _known(ledger, brand))
    if known is not None and known.customer_id not in {brand.customer_id, former}:
        raise BrandOfAnotherError(code)
    changed = [] if known is None else changes(known, brand)
    if changed and not execute:
        for line in changed:
            say(line)
        waiting = unsettled(counts)
        say(f"{waiting} unsettled records are affected; add --execute to change brand {code}")
        return
    messages, now = topic_messages(), datetime.now(UTC)
    stored = run_on_ledger(lambda ledger: registry.upsert(ledger, messages, brand, by=by, now=now))
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
    rows = cells(
        _COLUMNS,
        brands,
        rights=lambda one: " ".join(standing.rights(concerning(one.brand_code, found))) or "none",
        suspended=lambda one: " ".join(sorted(suspension_orders.of_brand(one, orders))),
    )
    print_rows(output, _COLUMNS, rows)


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
        tuple(one for one in await registry.every(ledger) if cut.has(one.brand_code)),
        await standing.every(ledger),
        await suspension_orders.every(ledger),
    )


async def _known(ledger: Ledger, brand: Brand) -> tuple[Brand | None, tuple[Count, ...]]:
    """Return the brand as it is registered, if it is, and its numbers of keys."""
    async with ledger.transaction() as connection:
        await customers.require_active(connection, {brand.customer_id})
        known = await registry.of_codes(connection, [brand.brand_code])
    return known.get(brand.brand_code), concerning(brand.brand_code, await reads.counts(ledger))


async def _described(ledger: Ledger, brand_code: int) -> list[tuple[str, str, str]]:
    brand = await registered_brand(ledger, brand_code)
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
    parked.parked,
    parked.retailers,
    suspensions.suspensions,
    suspensions.retry,
    parked.requeue,
):
    app.command()(command)
