"""``izin receipts``: what the gate answered senders, by the id of the receipt."""

from typing import Annotated, Any

import typer

from izin.cli.terminal import OutputFormat, OutputOption, filled, print_rows, turkish
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.consent import SourceError
from izin.ledger import reads
from izin.ledger.history import receipt_key

app = typer.Typer(
    help="Show receipts of the gate: who asked whether a message may be sent, and the answer.\n\n"
    "A receipt is kept where the sender wanted one, and for every message that needs no consent.",
    no_args_is_help=True,
)


@app.command()
def show(
    receipt_id: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the receipt.", callback=filled)
    ],
    *,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print a receipt: who asked, when, for which message, and how many got which answer.

    The answer for one recipient, where the receipt has them, is shown by izin explain, with the
    basis. Times are Turkish. Exit code 3 if the ledger has no such receipt; a sink worker takes it
    over from Kafka.
    """
    facts = run_on_ledger(lambda ledger: reads.facts(ledger, [receipt_key(receipt_id)]))
    # Recipients without a valid address have their answers beside that of the request.
    asked = next((one for one in facts if "recipients" in one.data), None)
    if asked is None:
        raise SourceError(
            f"the ledger has no receipt {receipt_id}; is the id whole, and does a sink worker run?"
        )
    receipt = {
        "receipt_id": receipt_id,
        "customer": asked.customer_id,
        "asked_at": asked.occurred_at,
        "recorded_at": asked.recorded_at,
        **asked.data,
    }
    rows = [(name.replace("_", " "), _in_words(value)) for name, value in receipt.items()]
    print_rows(output, ("field", "value"), rows, as_json=receipt)


def _in_words(value: Any) -> str:  # noqa: ANN401  # of JSON, or an instant
    match value:
        case None:
            return "-"
        case dict():
            return ", ".join(f"{count:,} {reason}" for reason, count in sorted(value.items()))
        case str() | int():
            return str(value)
        case _:
            return turkish(value)
