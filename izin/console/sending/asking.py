"""What the commands of senders share: the options of a question, and the client that asks it."""

from datetime import timedelta
from typing import Annotated

import typer

from izin.consent.message_classes import MessageClass
from izin.consent.model import RecipientType
from izin.runtime.settings import SenderSettings
from izin.schemas.may_send_api import LONGEST_TEXT
from izin.subscribers import Gate


def _short_text(text: str | None) -> str | None:
    """Return ``text``; one that is empty, or longer than the gate takes, is wrong usage."""
    if text is not None and not 0 < len(text.strip()) <= LONGEST_TEXT:
        raise typer.BadParameter(f"it must have 1 to {LONGEST_TEXT} characters")
    return text


BRAND = typer.Option("--brand", min=1, max=2**31 - 1, help="Code of the brand at İYS (brandCode).")
CHANNEL = typer.Option(
    "--type",
    case_sensitive=False,
    help="Channel: ARAMA (calls), MESAJ (text messages) or EPOSTA (e-mail).",
)
CampaignOption = Annotated[
    str | None,
    typer.Option("--campaign", callback=_short_text, help="Your name of the campaign."),
]
RecipientTypeOption = Annotated[
    RecipientType | None,
    typer.Option(
        "--recipient-type",
        case_sensitive=False,
        help="BIREYSEL (consumer, also a lawyer or a doctor) or TACIR (merchant). "
        "Default: BIREYSEL.",
    ),
]
ClassOption = Annotated[
    MessageClass | None,
    typer.Option(
        "--class",
        metavar="CLASS",
        help="What the message is as a whole, such as delivery; docs/messages.md has all classes. "
        "Default: commercial.",
    ),
]
BasisOption = Annotated[
    str | None,
    typer.Option(
        "--basis",
        callback=_short_text,
        help="What an exempt class rests on, such as the number of an order.",
    ),
]
RetailerOption = Annotated[
    int | None, typer.Option("--retailer", min=1, help="Code of the retailer that sends.")
]


def open_gate(list_timeout: timedelta, batch: int) -> Gate:
    """Return a client of the gate that raises where there is no answer: a command ends then."""
    settings = SenderSettings()
    return Gate(
        settings.url,
        settings.api_key.get_secret_value(),
        ca_file=settings.ca_file,
        list_timeout=list_timeout,
        batch=batch,
        raise_unavailable=True,
    )
