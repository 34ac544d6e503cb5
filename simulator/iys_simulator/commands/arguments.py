"""What the commands take of a consent: whose, of which brand and channel, and what it says.

What is none of the known words is wrong usage here, before the twin is asked.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from iys_simulator.pages.citizen_view import address_in
from iys_simulator.rules.fields import RECIPIENT_TYPES, STATUSES
from iys_simulator.store.accounts import CHANNELS


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Give the check of a word that is one of `choices`."""

    def checked(word: str) -> str:
        if word not in choices:
            raise typer.BadParameter(f"{word} is none of {', '.join(choices)}")
        return word

    return checked


def _address(text: str) -> str:
    """Give the address a person meant, as the citizen's page does."""
    address = address_in(text)
    if address is None:
        raise typer.BadParameter(f"{text} is no phone and no e-mail address")
    return address


Brand = Annotated[int, typer.Option("--brand", help="Brand code.")]
Channel = Annotated[
    str, typer.Option("--type", help=" | ".join(CHANNELS), callback=_one_of(CHANNELS))
]
RecipientType = Annotated[
    str,
    typer.Option(
        "--recipient-type", help=" | ".join(RECIPIENT_TYPES), callback=_one_of(RECIPIENT_TYPES)
    ),
]
Recipient = Annotated[str, typer.Argument(help="Phone as +90…, or e-mail address.")]
Citizen = Annotated[
    str, typer.Argument(help="Phone or e-mail address, however written.", callback=_address)
]
Status = Annotated[str, typer.Argument(help=" | ".join(STATUSES), callback=_one_of(STATUSES))]
