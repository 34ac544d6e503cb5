"""What people type about subscribers, checked."""

import re
from collections.abc import Iterable
from typing import Annotated

import typer

from izin.consent.model import Channel
from izin.console.terminal.arguments import filled
from izin.sinks.ledger.webhooks.registry import EventFilter, WebhookType

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise typer.BadParameter(
            "a name has up to 64 letters, digits, dots, hyphens and underscores"
        )
    return text


NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the subscriber.", callback=_name)
]
NamesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME",
        help="Names of the subscribers; nobody else gets anything.",
        callback=lambda names: [*dict.fromkeys(map(_name, names))],
    ),
]
TypesOption = Annotated[
    list[WebhookType] | None,
    typer.Option("--type", help="Events of this type only; repeat it. Else every type."),
]
BrandsOption = Annotated[
    list[int] | None,
    typer.Option("--brand", min=1, help="Of this brand only; else every one of the customer's."),
]
ChannelsOption = Annotated[
    list[Channel] | None, typer.Option("--channel", help="Of this channel only; else every one.")
]
OriginsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--origin", help="Of this origin only, such as iys; permissions have none, and come always."
    ),
]


def event_filter(
    customer_id: str,
    *,
    types: Iterable[WebhookType] | None,
    brands: Iterable[int] | None,
    channels: Iterable[Channel] | None,
    origins: Iterable[str] | None,
) -> EventFilter:
    """Return the filter that these options are."""
    return EventFilter(
        customer_id=customer_id,
        types=frozenset(map(str, types or ())),
        brands=frozenset(brands or ()),
        channels=frozenset(map(str, channels or ())),
        origins=frozenset(map(filled, origins or ())),
    )
