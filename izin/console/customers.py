"""``izin customers``: whose consents are managed. Every brand and every API key belongs to one."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from izin.console.brake.setting import brake
from izin.console.terminal.arguments import ByOption, CustomerArgument, filled
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_on_error,
    print_rows,
    say,
    turkish,
)
from izin.schemas.api_keys import ApiKey
from izin.sinks.ledger import brands as registry
from izin.sinks.ledger.brake.limits import limits_of
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.registry import api_keys, customers
from izin.sinks.ledger.registry.customers import Customer
from izin.sinks.record.brand import Brand
from izin.sinks.record.errors import UnknownCustomerError

app = typer.Typer(
    help="Register the customers: the companies whose consents are managed.\n\n"
    "A customer has brands at İYS (izin brands), and API keys for its systems (izin keys).",
    no_args_is_help=True,
)

_COLUMNS = {
    "customer_id": "customer",
    "name": "name",
    "created_at": "registered",
    "brands": "brands",
    "brake": "brake",
}


@app.command()
def add(
    customer_id: CustomerArgument,
    *,
    name: Annotated[str, typer.Option(help="Name of the company.", callback=filled)],
    by: ByOption,
) -> None:
    """Register a customer, or change its name. Who ordered it is written to the history."""
    with exit_on_error():
        now = datetime.now(UTC)
        before, _ = run_on_ledger(
            lambda ledger: customers.add(ledger, customer_id, name, by=by, now=now)
        )
    if before is None:
        say(f"customer {customer_id} is registered")
    else:
        say(f"customer {customer_id} is {'unchanged' if before.name == name else 'changed'}")


@app.command("list")
def list_(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the customers, with their brands."""
    with exit_on_error():
        found, brands, _ = run_on_ledger(_read)
    rows = [
        (
            one.customer_id,
            one.name,
            one.created_at,
            _codes(brands, one.customer_id),
            str(limits_of(one) or ""),
        )
        for one in found
    ]
    print_rows(output, _COLUMNS, rows)


@app.command()
def show(customer_id: CustomerArgument, *, output: OutputOption = OutputFormat.TABLE) -> None:
    """Print a customer with its brands and its valid API keys. Times are Turkish."""
    with exit_on_error():
        found, brands, keys = run_on_ledger(_read)
        customer = next((one for one in found if one.customer_id == customer_id), None)
        if customer is None:
            raise UnknownCustomerError(customer_id)
    now = datetime.now(UTC)
    rows: list[tuple[str, str]] = [
        ("customer", f"{customer.customer_id} {customer.name}"),
        ("registered", turkish(customer.created_at)),
        ("brake", str(limits_of(customer) or "off")),
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
    ledger: Ledger,
) -> tuple[Sequence[Customer], Sequence[Brand], Sequence[ApiKey]]:
    return (
        await customers.every(ledger),
        await registry.every(ledger),
        await api_keys.every(ledger),
    )


def _codes(brands: Sequence[Brand], customer_id: str) -> str:
    return " ".join(str(one.brand_code) for one in brands if one.customer_id == customer_id)


app.command()(brake)
