"""``izin may-send``: whether a message may be sent to one or several recipients."""

import asyncio
from datetime import timedelta
from typing import Annotated

import typer

from izin.consent.model import Channel
from izin.console.sending.asking import (
    BRAND,
    CHANNEL,
    BasisOption,
    CampaignOption,
    ClassOption,
    RecipientTypeOption,
    RetailerOption,
    open_gate,
)
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    print_json,
    print_rows,
    say,
)
from izin.subscribers import GateAnswer, Question, ReceiptKind

_WITHIN = timedelta(seconds=10)
_MOST = 1000


def may_send(
    recipients: Annotated[
        list[str],
        typer.Argument(help="Phone numbers or e-mail addresses, in any usual notation."),
    ],
    *,
    brand: Annotated[int, BRAND],
    channel: Annotated[Channel, CHANNEL],
    campaign: CampaignOption = None,
    recipient_type: RecipientTypeOption = None,
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
        "channel": channel,
        "recipient_type": recipient_type,
        "message_class": message_class,
        "basis": basis,
        "campaign": campaign,
        "retailer_code": retailer,
        "receipt": receipt,
        "at_least": at_least,
    }
    with exit_on_error():
        answer = asyncio.run(_ask(recipients, question))
    _print(answer, output)
    exit_if(not all(one.may_send for one in answer.verdicts))


async def _ask(recipients: list[str], question: Question) -> GateAnswer:
    async with open_gate(_WITHIN, _MOST) as gate:
        (answer,) = [one async for one in gate.check_lists(recipients, **question)]
    return answer


def _print(answer: GateAnswer, output: OutputFormat) -> None:
    rows = [(one.recipient, one.may_send, one.reason, one.violation) for one in answer.verdicts]
    columns = ("recipient", "may_send", "reason", "violation")
    match output:
        case OutputFormat.JSON:
            print_json(
                {
                    "as_of": answer.as_of,
                    "receipt": answer.receipt,
                    "verdicts": [dict(zip(columns, row, strict=True)) for row in rows],
                }
            )
        case OutputFormat.TABLE:
            print_rows(output, columns, rows)
            if answer.receipt is not None:
                say(f"receipt {answer.receipt}")
