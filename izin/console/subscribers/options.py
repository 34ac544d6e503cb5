"""What people type about subscribers, checked."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from izin.consent.model import Channel
from izin.console.terminal.arguments import OFFSET_RANGE, instant, offset_range
from izin.sinks.ledger.webhooks.subscriber import WebhookType
from izin.sinks.webhooks.resends.cursors import OffsetRange

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
ParallelOption = Annotated[
    int,
    typer.Option(
        "--parallel", min=1, max=64, help="Requests at a time; one for each recipient at most."
    ),
]


def _range(text: str) -> OffsetRange:
    place, first, last = offset_range(text)
    return OffsetRange(place=place, first=first, last=last)


def _one_each(ranges: Sequence[OffsetRange] | None) -> Sequence[OffsetRange]:
    counts = Counter(one.place for one in ranges or ())
    if twice := [place for place, count in counts.items() if count > 1]:
        raise typer.BadParameter(
            f"{twice[0][0]}/{twice[0][1]} is named twice; name one range of it"
        )
    return ranges or ()


OffsetsOption = Annotated[
    list[OffsetRange] | None,
    typer.Option(
        "--offsets",
        parser=_range,
        callback=_one_each,
        metavar=OFFSET_RANGE,
        help="Only these records, as consent-opt-outs/3/17-20; repeat it for other partitions.",
    ),
]
SinceOption = Annotated[
    datetime | None,
    typer.Option(
        "--since",
        parser=instant,
        metavar="INSTANT",
        help="What came since then, in Turkish time, as 2026-03-31T12:00.",
    ),
]
UntilOption = Annotated[
    datetime | None,
    typer.Option("--until", parser=instant, metavar="INSTANT", help="And before then."),
]
MissingOption = Annotated[
    bool, typer.Option("--missing", help="Only what it has never acknowledged.")
]
RecipientsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--recipient",
        help="Only of this phone number or e-mail address in any usual notation, or of this "
        "canonical key; repeat it. Your shell may keep it: prefer --file.",
    ),
]
FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file", help="Only of the recipients in this text file, one in each line; - for stdin."
    ),
]
CancelOption = Annotated[
    bool, typer.Option("--cancel", help="Cancel the resends of these subscribers instead.")
]
ExecuteOption = Annotated[
    bool, typer.Option("--execute", help="Do it. Without it the command only counts.")
]
