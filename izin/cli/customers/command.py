"""``izin customers``: whose consents are managed. Every brand and every API key belongs to one.

``sync`` and ``granted-brands`` show which brands and rights İYS lists for us.
"""

import shlex
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Annotated

import typer

from izin.cli.customers.offboarding import offboard
from izin.cli.customers.onboard import onboard
from izin.cli.customers.pack import checklist_items, pack, void_consents_of
from izin.cli.terminal import (
    ByOption,
    CustomerArgument,
    ExecuteOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    exit_if,
    filled,
    filled_if_given,
    print_found,
    print_rows,
    say,
    warn,
)
from izin.cli.terminal.iys_session import run_in_context
from izin.cli.terminal.ledger_session import run_cut, run_on_ledger
from izin.consent import Channel
from izin.iys.errors import CallError
from izin.ledger import brands as registry
from izin.ledger.automatic_suspension.counting import limits_of
from izin.ledger.db import Ledger
from izin.ledger.record import Brand
from izin.ledger.registry import customers, granted as listing
from izin.ledger.registry.customers import Customer, CustomerDetails, PersonKind
from izin.ledger.registry.granted import ListedBrand, offers
from izin.runtime.settings import IysSettings, SinkSettings
from izin.sinks.monitor.accounts import GrantedBrandsReader, ListFinding, refresh_subscriptions
from izin.sinks.outbound.context import OutboundContext, RequestBudget
from izin.views.customers import (
    NUMBERS,
    KnownCustomers,
    customer_state,
    known_customers,
    shared_numbers,
)
from izin.views.cut import CustomerCut, cut_to

app = typer.Typer(
    help="Register the customers: the companies whose consents are managed.\n\n"
    "A customer has brands at İYS (izin brands), and API keys for its systems (izin keys).",
    no_args_is_help=True,
)

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
_GRANTED = {
    "brand_code": "brand",
    "iys_code": "İYS code",
    "customer_id": "customer",
    "name": "name",
    "writes": "writes",
    "reads": "reads only",
    "daily_files": "daily files",
    "listed_at": "listed",
    "remedy": "remedy",
}
_NOW = timedelta(0)
_Row = tuple[int | None, str, str]
"""The brand, what İYS lists of it, and what to do."""


def _offer(known: KnownCustomers, brand_code: int, iys_code: int, name: str) -> str:
    """Return the command that registers an offered brand."""
    owner = shlex.quote(known.owner_of(iys_code) or "CUSTOMER")
    return (
        f"izin brands add {brand_code} --iys-code {iys_code} --customer {owner} "
        f"--name {shlex.quote(name or str(brand_code))}; with --activated-at if it is active"
    )


def sync(
    *,
    customer: OneCustomerOption = None,
    by: ByOption,
    execute: ExecuteOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Read which brands and rights İYS lists for us, and follow it.

    A business partner (IYS_INTEGRATOR_CODE) has its list of granted brands read: a right to write
    that is gone suspends its channel, one that is back ends that suspension, and no other. Brands
    that are not registered here are offered, and never registered by themselves. The subscriptions
    are queried again. Sink workers do the same every day, and after İYS refused a call for a
    missing right. Who ordered it is written to the history where a right changes. Exit code 1 if a
    right is lost, or a list could not be read whole.
    """
    rows, wrong = run_in_context(lambda context: _sync(context, customer, by if execute else None))
    print_rows(
        output,
        {"brand_code": "brand", "what": "what İYS lists", "remedy": "remedy"},
        rows,
        below=True,
    )
    if not execute:
        say("nothing was changed; add --execute to follow it")
    exit_if(wrong)


def granted_brands(
    *, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE
) -> None:
    """List the brands that İYS listed when it was last read, and what each may write and read.

    Those that are not registered here are offered, with the command that registers them. Exit code
    1 if a registered brand lacks the right to write a channel.
    """
    listed, known, cut = run_on_ledger(lambda ledger: _listed(ledger, customer))
    codes = {one.brand_code: one for one in known.brands}
    offered = {offer.brand_code for offer in offers(listed, codes)}
    rows = [
        (
            one.brand_code,
            one.iys_code,
            owner,
            one.name,
            "unknown" if one.writes is None else " ".join(one.writes) or "nothing",
            " ".join(item for item in one.reads or () if item not in (one.writes or ())),
            one.agreement_control,
            one.listed_at,
            _remedy(one, known, is_offered=one.brand_code in offered),
        )
        for one in listed
        if one.brand_code in codes or one.brand_code in offered
        for brand in [codes.get(one.brand_code)]
        for owner in [known.owner_of(one.iys_code) if brand is None else brand.customer_id]
        if cut.has(owner)
    ]
    print_rows(output, _GRANTED, rows, below=True)
    exit_if([row for row in rows if row[0] in codes and row[-1]])


def _remedy(one: ListedBrand, known: KnownCustomers, *, is_offered: bool) -> str:
    if is_offered:
        return _offer(known, one.brand_code, one.iys_code, one.name)
    if one.writes is None or len(one.writes) == len(Channel):
        return ""
    lost = " ".join(channel for channel in Channel if channel not in one.writes)
    return f"have the provider grant {lost} on İYS's pages; then: izin customers sync"


async def _listed(
    ledger: Ledger, customer: str | None
) -> tuple[tuple[ListedBrand, ...], KnownCustomers, CustomerCut]:
    cut = await cut_to(ledger, customer)
    return await listing.every(ledger), await known_customers(ledger), cut


async def _sync(
    context: OutboundContext, customer: str | None, by: str | None
) -> tuple[list[_Row], bool]:
    """Return what İYS lists, with what to do, and whether anything is wrong; ``by`` follows it."""
    ledger = context.ledger
    await cut_to(ledger, customer)
    known, iys = await known_customers(ledger), IysSettings()
    if iys.integrator_code is None:
        return await _own_brands(context, known, customer, store=by is not None)
    reader = GrantedBrandsReader(
        context=context,
        integrator_code=iys.integrator_code,
        budget=RequestBudget(
            SinkSettings().sweep_share * iys.requests_per_second, clock=time.monotonic
        ),
        customer_id=customer,
    )
    found = await reader.read()
    rows = list(_rows(found, known, context))
    if by is not None:
        await reader.follow(found, by=by)
        if customer is None and found.problem is None:
            account, now = context.lease_owner.account, context.clock()
            await listing.note_read(ledger, account, found.subscription, now=now)
        served = {brand.iys_code for brand in _of(known.brands, customer)}
        rows += [
            (None, f"subscription of provider {one}: {why}", "")
            for one, why in (await refresh_subscriptions(context, every=_NOW, only=served)).items()
        ]
    return rows, any(one.loses for one in found.changes) or found.problem is not None


def _rows(found: ListFinding, known: KnownCustomers, context: OutboundContext) -> Iterator[_Row]:
    for change in found.changes:
        code = change.brand.brand_code
        remedy = f"izin deadlines opt-outs {code}" if change.lost else ""
        for line in change.lines():
            yield code, line, remedy
    for one in found.offered:
        what = f"granted, not registered: {one.name} of {one.title}"
        yield one.brand_code, what, _offer(known, one.brand_code, one.iys_code, one.name)
    for brand in found.unlisted:
        yield (
            brand.brand_code,
            "never listed: nothing is concluded",
            f"compare its code and account with İYS: izin brands show {brand.brand_code}",
        )
    for warning in found.warnings(context.clock()):
        yield None, f"our own subscription: {warning}", "renew it with İYS"
    if found.problem is not None:
        yield None, f"not read whole: {found.problem}", "try again; what is gone is not followed"


async def _own_brands(
    context: OutboundContext, known: KnownCustomers, customer: str | None, *, store: bool
) -> tuple[list[_Row], bool]:
    """Return the brands of providers whose own account we have, as :func:`_sync` does."""
    rows: list[_Row] = []
    account, now, wrong = context.lease_owner.account, context.clock(), False
    codes = {brand.brand_code for brand in known.brands}
    for iys_code in sorted({one.iys_code for one in _of(known.brands, customer)}):
        try:
            found = await context.client.brands(iys_code)
        except CallError as error:
            wrong = True
            rows.append((None, f"brands of provider {iys_code}: {error}", "izin doctor"))
            continue
        rows += [
            (
                summary.brand_code,
                f"not registered: {summary.name}",
                _offer(known, summary.brand_code, iys_code, summary.name),
            )
            for summary in found
            if summary.brand_code not in codes
        ]
        if store:
            await listing.store_own(context.ledger, account, iys_code, found, now=now)
            await refresh_subscriptions(context, every=_NOW, only={iys_code})
    return rows, wrong


def _of(brands: Iterable[Brand], customer: str | None) -> list[Brand]:
    return [brand for brand in brands if customer in {None, brand.customer_id}]


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
    before, after = run_on_ledger(
        lambda ledger: customers.add(
            ledger,
            customer_id,
            name,
            details=CustomerDetails(kind=kind, mersis=mersis, vkn=vkn, iys_code=iys_code),
            by=by,
            now=now,
        )
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
    before, after = run_on_ledger(
        lambda ledger: customers.change(
            ledger,
            customer_id,
            CustomerDetails(name=name, kind=kind, mersis=mersis, vkn=vkn, iys_code=iys_code),
            by=by,
            now=now,
        )
    )
    _say(before, after)


def _say(before: Customer | None, after: Customer) -> None:
    done = "unchanged" if before == after else "registered" if before is None else "changed"
    say(f"customer {after.customer_id} is {done}")
    warn(
        *(
            f"its {name} is that of {', '.join(others)}, too: if they are one company, make it one "
            "customer; if not, correct it (izin customers change)"
            for name, others in shared_numbers(after, run_on_ledger(customers.every))
        )
    )


@app.command("list")
def list_(*, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the customers, with their brands."""
    found = run_cut(customer, customers.every, attrgetter("customer_id"))
    brands = run_on_ledger(registry.every)
    print_found(
        output,
        {
            "customer_id": "customer",
            "name": "name",
            "kind": "kind",
            "iys_code": "İYS code",
            "created_at": "registered",
            "brands": "brands",
            "limits": "limits of one source",
            "offboarded_at": "offboarded",
        },
        found,
        brands=lambda one: " ".join(
            str(brand.brand_code) for brand in brands if brand.customer_id == one.customer_id
        ),
        limits=lambda one: str(limits_of(one) or ""),
    )


@app.command()
def show(customer_id: CustomerArgument, *, output: OutputOption = OutputFormat.TABLE) -> None:
    """Print a customer with its brands and its valid API keys. Times are Turkish."""
    now = datetime.now(UTC)
    found = run_on_ledger(lambda ledger: customer_state(ledger, customer_id, now=now))
    customer = found.customer
    rows: list[tuple[str, object]] = [
        ("customer", f"{customer.customer_id} {customer.name}"),
        ("registered", customer.created_at),
        *(
            (title, getattr(customer, field))
            for title, field in (("kind", "kind"), *NUMBERS, ("offboarded", "offboarded_at"))
            if getattr(customer, field) is not None
        ),
        ("limits of one source", str(limits_of(customer) or "off")),
        *(
            (f"brand {one.brand.brand_code}", f"{one.brand.name}, {one.brand.status}")
            for one in found.brands
        ),
        *(
            (f"key {key.name}", f"{key.id}, {' '.join(key.to_avro()['scopes'])}")
            for key in found.keys
        ),
    ]
    print_rows(output, ("field", "value"), rows)


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
