"""Which dead letters are meant, as people type it."""

from datetime import datetime
from typing import Annotated

import typer

from izin.console.terminal.arguments import instant
from izin.replay.letters.selection import Selection

LettersArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Which, as izin dead-letters names them: partition/offset."),
]
BecauseOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Only those with this reason (undecodable, unknown-schema, refused, poison …) or with "
        "a violation of this code (H162 …); repeat it for others."
    ),
]
SourceOption = Annotated[
    list[str] | None, typer.Option(help="Only records of this topic; repeat it for others.")
]
OriginOption = Annotated[
    list[str] | None, typer.Option(help="Only events of this origin, such as crm; repeat it.")
]
CustomerOption = Annotated[
    list[str] | None, typer.Option(help="Only events of this customer; repeat it.")
]
BrandOption = Annotated[
    list[int] | None, typer.Option(min=1, help="Only events of this brand; repeat it.")
]
SinceOption = Annotated[
    datetime | None,
    typer.Option(
        parser=instant,
        metavar="INSTANT",
        help="Only records that were published then or later, in Turkish time or with an offset.",
    ),
]
UntilOption = Annotated[
    datetime | None,
    typer.Option(parser=instant, metavar="INSTANT", help="Only records published before then."),
]


def selected(  # noqa: PLR0917  # the options, in their order
    because: list[str] | None,
    source: list[str] | None,
    origin: list[str] | None,
    customer: list[str] | None,
    brand: list[int] | None,
    since: datetime | None,
    until: datetime | None,
) -> Selection:
    """Return the selection of letters by these options."""
    return Selection(
        because=frozenset(because or ()),
        sources=frozenset(source or ()),
        origins=frozenset(origin or ()),
        customers=frozenset(customer or ()),
        brands=frozenset(brand or ()),
        since=since,
        until=until,
    )


def narrowed(filters: Selection, letters: list[str] | None, *, every: bool) -> Selection:
    """Return the letters that are meant: those named, or those of the filters, or every one; it is
    wrong usage to say none of it, or two.
    """
    if sum((bool(letters), filters.is_filtered, every)) != 1:
        raise typer.BadParameter("name the dead letters, or filter them, or say --all")
    return Selection(names=frozenset(letters)) if letters else filters
