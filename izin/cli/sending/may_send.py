"""``izin may-send``: whether a message may be sent to one or several recipients.

Here are also the options of a question to the gate, and the client that asks it.
"""

import asyncio
from datetime import timedelta
from typing import Annotated

import typer

from izin.cli.terminal import (
    BrandOption,
    ChannelOption,
    OutputFormat,
    OutputOption,
    RecipientTypeOption,
    cells,
    exit_if,
    named,
    print_rows,
)
from izin.consent import MessageClass, RecipientType
from izin.runtime.settings import SenderSettings
from izin.schemas.may_send_api import LONGEST_TEXT
from izin.subscribers import Gate, GateAnswer, Question, ReceiptKind

ClassOption = Annotated[
    MessageClass | None,
    typer.Option(
        "--class",
        metavar="CLASS",
        help="What the message is as a whole, such as delivery; docs/messages.md has all classes. "
        "Default: commercial.",
    ),
]
RetailerOption = Annotated[
    int | None, typer.Option("--retailer", min=1, help="Code of the retailer that sends.")
]
_WITHIN = timedelta(seconds=10)
_MOST = 1000


def _short_text(text: str | None) -> str | None:
    """Return ``text``; one that is empty, or longer than the gate takes, is wrong usage."""
    if text is not None and not 0 < len(text.strip()) <= LONGEST_TEXT:
        raise typer.BadParameter(f"it must have 1 to {LONGEST_TEXT} characters")
    return text


CampaignOption = Annotated[
    str | None,
    typer.Option("--campaign", callback=_short_text, help="Your name of the campaign."),
]
BasisOption = Annotated[
    str | None,
    typer.Option(
        "--basis",
        callback=_short_text,
        help="What an exempt class rests on, such as the number of an order.",
    ),
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


def may_send(
    recipients: Annotated[
        list[str],
        typer.Argument(help="Phone numbers or e-mail addresses, in any usual notation."),
    ],
    *,
    brand: BrandOption,
    channel: ChannelOption,
    campaign: CampaignOption = None,
    recipient_type: RecipientTypeOption = RecipientType.BIREYSEL,
    message_class: ClassOption = None,
    basis: BasisOption = None,
    retailer: RetailerOption = None,
    receipt: Annotated[
        ReceiptKind | None,
        typer.Option(help="Keep a receipt: of the whole list, or of each decision."),
    ] = None,
    at_least: Annotated[
        str | None,
        typer.Option(help="A token: what was written up to there must be known, else no."),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Ask the gate whether a message may be sent, and why.

    Exit code 0 if it may be sent to all recipients, 1 if not to all, 3 if the gate refuses the
    question, 4 if it gives no answer or does not take the API key: then send nothing.
    """
    if len(recipients) > _MOST:
        raise typer.BadParameter(f"more than {_MOST}; ask about a file: izin scrub")
    question: Question = {
        "brand_code": brand,
        "type": channel,
        "recipient_type": recipient_type,
        "message_class": message_class,
        "basis": basis,
        "campaign": campaign,
        "retailer_code": retailer,
        "receipt": receipt,
        "at_least": at_least,
    }
    answer = asyncio.run(_ask(recipients, question))
    _print(answer, output)
    exit_if(not all(verdict.may_send for verdict in answer.verdicts))


async def _ask(recipients: list[str], question: Question) -> GateAnswer:
    async with open_gate(_WITHIN, _MOST) as gate:
        (answer,) = [check_list_ async for check_list_ in gate.check_lists(recipients, **question)]
    return answer


def _print(answer: GateAnswer, output: OutputFormat) -> None:
    columns = ("recipient", "may_send", "reason", "violation")
    rows = cells(columns, answer.verdicts)
    known = {"as_of": answer.as_of, "receipt": answer.receipt, "verdicts": named(columns, rows)}
    notes = [] if answer.receipt is None else [f"receipt {answer.receipt}"]
    print_rows(output, columns, rows, as_json=known, notes=notes)
