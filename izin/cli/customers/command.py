"""``izin customers``: whose consents are managed. Every brand and every API key belongs to one."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Annotated

import typer

from izin.cli.customers.offboarding import offboard
from izin.cli.customers.onboard import onboard
from izin.cli.customers.pack import checklist_items, pack, void_consents_of
from izin.cli.customers.syncing import granted_brands, sync
from izin.cli.terminal import (
    ByOption,
    CustomerArgument,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    filled,
    filled_if_given,
    print_found,
    print_rows,
    say,
    warn,
)
from izin.cli.terminal.ledger_session import run_cut, run_on_ledger
from izin.ledger import brands as registry
from izin.ledger.brake.counting import limits_of
from izin.ledger.db import Ledger
from izin.ledger.record import Brand
from izin.ledger.registry import api_keys, customers
from izin.ledger.registry.customers import Customer, CustomerDetails, PersonKind
from izin.schemas.api_keys import ApiKey

app = typer.Typer(
    help="Register the customers: the companies whose consents are managed.\n\n"
    "A customer has brands at İYS (izin brands), and API keys for its systems (izin keys).",
    no_args_is_help=True,
)

_COLUMNS = {
    "customer_id": "customer",
    "name": "name",
    "kind": "kind",
    "iys_code": "İYS code",
    "created_at": "registered",
    "brands": "brands",
    "limits": "limits of one source",
    "offboarded_at": "offboarded",
}
_NUMBERS = (("MERSİS", "mersis"), ("VKN", "vkn"), ("İYS code", "iys_code"))
_DETAILS = (("kind", "kind"), *_NUMBERS, ("offboarded", "offboarded_at"))
KindOption = Annotated[
    PersonKind | None,
    typer.Option(
        help="What it is before the law: a legal person, or a natural person who is a merchant "
        "(tacir), a craftsman (esnaf) or neither."
    ),
]
MersisOption = Annotated[
    str | None,
    typer.Option(help="Its MERSİS number (16 digits), that of a natural person never."),
]
VknOption = Annotated[str | None, typer.Option(help="Its VKN, the tax number (10 digits).")]
IysCodeOption = Annotated[
    int | None, typer.Option(min=0, help="Its number as a provider at İYS (iysCode).")
]


@app.command()
def add(
    customer_id: CustomerArgument,
    *,
    name: Annotated[str, typer.Option(help="Name of the company.", callback=filled)],
    kind: KindOption = None,
    mersis: MersisOption = None,
    vkn: VknOption = None,
    iys_code: IysCodeOption = None,
    by: ByOption,
) -> None:
    """Register a customer, or change it. Who ordered it is written to the history.

    The number of a natural person (T.C. kimlik numarası) is refused wherever it is given: it is
    never stored. Exit code 3 for a number that cannot be right, or a customer that was offboarded.
    """
    now = datetime.now(UTC)
    details = CustomerDetails(kind=kind, mersis=mersis, vkn=vkn, iys_code=iys_code)
    before, after = run_on_ledger(
        lambda ledger: customers.add(ledger, customer_id, name, details=details, by=by, now=now)
    )
    _say(before, after)


@app.command()
def change(
    customer_id: CustomerArgument,
    *,
    name: Annotated[
        str | None, typer.Option(help="Name of the company.", callback=filled_if_given)
    ] = None,
    kind: KindOption = None,
    mersis: MersisOption = None,
    vkn: VknOption = None,
    iys_code: IysCodeOption = None,
    by: ByOption,
) -> None:
    """Change a customer: what is named, and nothing else. An empty number takes it away (0 as the
    İYS code). Who ordered it is written to the history.

    Exit code 3 if it is not registered or was offboarded, or for a number that cannot be right.
    """
    if all(one is None for one in (name, kind, mersis, vkn, iys_code)):
        raise typer.BadParameter("name what changes: --name, --kind, --mersis, --vkn, --iys-code")
    now = datetime.now(UTC)
    details = CustomerDetails(name=name, kind=kind, mersis=mersis, vkn=vkn, iys_code=iys_code)
    before, after = run_on_ledger(
        lambda ledger: customers.change(ledger, customer_id, details, by=by, now=now)
    )
    _say(before, after)


def _say(before: Customer | None, after: Customer) -> None:
    if before is None:
        say(f"customer {after.customer_id} is registered")
    else:
        say(f"customer {after.customer_id} is {'unchanged' if before == after else 'changed'}")
    known = run_on_ledger(customers.every)
    warn(*_shared_numbers(after, known))


def _shared_numbers(customer: Customer, known: Sequence[Customer]) -> Iterator[str]:
    """Say which numbers of ``customer`` others of ``known`` have: a company is one customer."""
    others = [one for one in known if one.customer_id != customer.customer_id]
    for name, field in _NUMBERS:
        value = getattr(customer, field)
        same = [
            one.customer_id
            for one in others
            if value is not None and getattr(one, field) == value and one.offboarded_at is None
        ]
        if same:
            yield (
                f"its {name} is that of {', '.join(same)}, too: if they are one company, make it "
                "one customer; if not, correct it (izin customers change)"
            )


@app.command("list")
def list_(*, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the customers, with their brands."""
    found = run_cut(customer, customers.every, attrgetter("customer_id"))
    brands = run_on_ledger(registry.every)
    print_found(
        output,
        _COLUMNS,
        found,
        brands=lambda one: " ".join(
            str(brand.brand_code) for brand in brands if brand.customer_id == one.customer_id
        ),
        limits=lambda one: str(limits_of(one) or ""),
    )


@app.command()
def show(customer_id: CustomerArgument, *, output: OutputOption = OutputFormat.TABLE) -> None:
    """Print a customer with its brands and its valid API keys. Times are Turkish."""
    customer, brands, keys = run_on_ledger(lambda ledger: _read(ledger, customer_id))
    now = datetime.now(UTC)
    rows: list[tuple[str, object]] = [
        ("customer", f"{customer.customer_id} {customer.name}"),
        ("registered", customer.created_at),
        *(
            (title, getattr(customer, field))
            for title, field in _DETAILS
            if getattr(customer, field) is not None
        ),
        ("limits of one source", str(limits_of(customer) or "off")),
        *(
            (f"brand {one.brand_code}", f"{one.name}, {one.status}")
            for one in brands
            if one.customer_id == customer_id
        ),
        *(
            (f"key {one.name}", f"{one.id}, {' '.join(one.to_avro()['scopes'])}")
            for one in keys
            if customer_id in one.customers and one.is_valid(now)
        ),
    ]
    print_rows(output, ("field", "value"), rows)


async def _read(
    ledger: Ledger, customer_id: str
) -> tuple[Customer, Sequence[Brand], Sequence[ApiKey]]:
    return (
        await customers.find(ledger, customer_id),
        await registry.every(ledger),
        await api_keys.every(ledger),
    )


for name, command in (
    ("sync", sync),
    ("granted-brands", granted_brands),
    ("onboard", onboard),
    ("pack", pack),
    ("checklist", checklist_items),
    ("void-consents", void_consents_of),
    ("offboard", offboard),
):
    app.command(name)(command)
