"""Which dead letters are meant, as people type it."""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated

import typer

from izin.console.terminal.arguments import instant, takes
from izin.console.terminal.output import kafka_settings
from izin.projections.brand_directory import BrandReader
from izin.replay.letters.selection import Selection
from izin.runtime.kafka import access_of


def filters(
    *,
    because: Annotated[
        list[str] | None,
        typer.Option(
            help="Only those with this reason (undecodable, unknown-schema, refused, poison …) or "
            "with a violation of this code (H162 …); repeat it for others."
        ),
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Only records of this topic; repeat it for others.")
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option(help="Only events of this origin, such as crm; repeat it.")
    ] = None,
    customer: Annotated[
        list[str] | None,
        typer.Option(help="Only events of this customer's brands of today; repeat it."),
    ] = None,
    brand: Annotated[
        list[int] | None, typer.Option(min=1, help="Only events of this brand; repeat it.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=instant,
            metavar="INSTANT",
            help="Only records that were published then or later: 2024-01-31T12:00, in Turkish "
            "time or with an offset.",
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(parser=instant, metavar="INSTANT", help="Only records published before then."),
    ] = None,
) -> Selection:
    """Return the selection of letters by these options."""
    return Selection(
        because=frozenset(because or ()),
        sources=frozenset(source or ()),
        origins=frozenset(origin or ()),
        brands=_brands(customer or (), frozenset(brand or ())),
        since=since,
        until=until,
    )


def _brands(customers: Collection[str], brands: frozenset[int]) -> frozenset[int]:
    """Return those of ``brands``, or all, that are the customers', whatever events say of theirs.

    Raises:
        typer.BadParameter: there is none.
        BrokerError: the topic of brands cannot be read.
    """
    if not customers:
        return brands
    access = access_of(kafka_settings())
    known = BrandReader(access, access.codec()).load()
    owned = {one.brand_code for one in known if one.customer_id in customers}
    if found := frozenset(owned & brands if brands else owned):
        return found
    raise typer.BadParameter(f"{', '.join(sorted(customers))} has no such brand")


@takes("chosen", filters)
def meant(
    letters: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LETTER", help="Which, as izin dead-letters names them: partition/offset."
        ),
    ] = None,
    *,
    chosen: Selection,
    every: Annotated[
        bool, typer.Option("--all", help="Every dead letter that nobody has acknowledged.")
    ] = False,
) -> Selection:
    """Return the letters that are meant: those named, or those of the filters, or every one; it is
    wrong usage to say none of it, or two.
    """
    if sum((bool(letters), chosen.is_filtered, every)) != 1:
        raise typer.BadParameter("name the dead letters, or filter them, or say --all")
    return Selection(names=frozenset(letters)) if letters else chosen
