"""The arguments that several commands share. An invalid one is refused before any request."""

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from iys_simulator.rules.consent import CHANNELS, RECIPIENT_TYPES, STATUSES
from iys_simulator.rules.recipients import parse_recipient


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def checked(word: str) -> str:
        if word not in choices:
            raise typer.BadParameter(f"{word} is not one of {', '.join(choices)}")
        return word

    return checked


def _recipient(text: str) -> str:
    recipient = parse_recipient(text)
    if recipient is None:
        raise typer.BadParameter(f"{text} is neither a phone number nor an e-mail address")
    return recipient


BrandOption = Annotated[int, typer.Option("--brand", help="Brand code.")]
ChannelOption = Annotated[
    str,
    typer.Option("--type", help=f"Channel: {' | '.join(CHANNELS)}.", callback=_one_of(CHANNELS)),
]
RecipientTypeOption = Annotated[
    str,
    typer.Option(
        "--recipient-type", help=" | ".join(RECIPIENT_TYPES), callback=_one_of(RECIPIENT_TYPES)
    ),
]
RawRecipient = Annotated[str, typer.Argument(help="Phone number as +90…, or e-mail address.")]
AnyRecipient = Annotated[
    str,
    typer.Argument(help="Phone number in any format, or e-mail address.", callback=_recipient),
]
StatusArgument = Annotated[
    str,
    typer.Argument(help="ONAY (opt-in) | RET (opt-out)", callback=_one_of(STATUSES)),
]
