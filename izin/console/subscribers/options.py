"""What people type about subscribers, checked."""

import re
from typing import Annotated

import typer

from izin.consent.model import Channel
from izin.sinks.ledger.webhooks.subscriber import WebhookType

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
ParallelOption = Annotated[
    int,
    typer.Option(
        "--parallel", min=1, max=64, help="Requests at a time; one for each recipient at most."
    ),
]
