"""Options that say which part of history a replay concerns."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import typer

from izin.console.terminal.arguments import (
    OFFSET_RANGE,
    instant,
    is_key,
    named_recipients,
    offset_range,
)
from izin.replay.selection import Place, Selection

SinceOption = Annotated[
    datetime | None,
    typer.Option(
        "--since",
        parser=instant,
        metavar="INSTANT",
        help="Appended then or later: 2024-01-31T12:00, in Turkish time or with an offset.",
    ),
]
UntilOption = Annotated[
    datetime | None,
    typer.Option("--until", parser=instant, metavar="INSTANT", help="Appended before."),
]
BrandOption = Annotated[
    list[int] | None, typer.Option("--brand", min=1, help="Of this brand; repeat it.")
]
CustomerOption = Annotated[
    list[str] | None, typer.Option("--customer", help="Of this customer; repeat it.")
]
OriginOption = Annotated[
    list[str] | None, typer.Option("--origin", help="Of this origin, such as crm; repeat it.")
]
OffsetsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--offsets",
        metavar=OFFSET_RANGE,
        help="Only these records, as consent-events/3/17-20; repeat it for other partitions.",
    ),
]


def selection_of(
    *,
    since: datetime | None,
    until: datetime | None,
    recipients: Iterable[str] | None,
    brands: Iterable[int] | None,
    customers: Iterable[str] | None,
    origins: Iterable[str] | None,
    offsets: Iterable[str] | None,
) -> Selection:
    """Return the selection of these options.

    Raises:
        SourceError: a recipient is neither a phone number nor an e-mail address nor a key, or
            nothing can match.
    """
    named = list(named_recipients(recipients or ()))
    return Selection(
        since=since,
        until=until,
        keys=frozenset(one for one in named if is_key(one)),
        recipients=frozenset(one for one in named if not is_key(one)),
        brands=frozenset(brands or ()),
        customers=frozenset(customers or ()),
        origins=frozenset(origins or ()),
        offsets=dict(map(_offsets, offsets or ())),
    )


def _offsets(text: str) -> tuple[Place, tuple[int, int]]:
    place, first, last = offset_range(text)
    return place, (first, last + 1)
