"""``izin explain``: everything that ever happened to a recipient, in the order we learnt it.

In words and Turkish time; what programs need is in the JSON. ``izin receipts``: what the gate said.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from izin.cli.terminal import (
    AskHistoryOption,
    ByOption,
    ExitCode,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    err,
    filled,
    normalised,
    out,
    print_fields,
    print_json,
    print_rows,
    turkish,
    warn,
)
from izin.cli.terminal.iys_session import run_at_iys
from izin.cli.terminal.language import LanguageOption
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.consent import SourceError
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.history import receipt_key
from izin.runtime.settings import StreamSettings
from izin.views import iys_history
from izin.views.cut import Look
from izin.views.explanation import Explanation
from izin.views.i18n import Language, spoken
from izin.views.recipient import KnownRecipient, find
from izin.views.remedies import line_of, remedy_of_parked
from izin.views.words import Words

HISTORY = ("when (Turkey)", "what", "details")
DELIVERIES = ("taken (Turkey)", "subscriber", "event", "attempts", "record")
_SAID = Explanation()
receipts_app = typer.Typer(
    help="Show receipts of the gate: who asked whether a message may be sent, and the answer.\n\n"
    "A receipt is kept where the sender wanted one, and for every message that needs no consent.",
    no_args_is_help=True,
)


def explain(
    recipient: Annotated[
        str,
        typer.Argument(
            help="Phone number or e-mail address in any usual notation, or a canonical key "
            "(brand/channel/recipient type/recipient)."
        ),
    ],
    *,
    customer: OneCustomerOption = None,
    ask: AskHistoryOption = False,
    by: ByOption,
    language: LanguageOption = Language.ENGLISH,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print the state of a recipient, and every event, decision, call to İYS and reply.

    With --ask İYS is asked for its own history of each key, which is kept and compared with ours:
    one of the hundred calls that it accepts in an hour, a key. Then every difference is named. The
    output is personal data: who looked, and at whom by a keyed digest (of
    IZIN_SUPPRESSION_SECRETS), is written to the history. Exit code 1 if nothing is known, 3 if the
    recipient cannot be read, 4 if İYS does not answer.
    """
    key = normalised(recipient)
    look = Look(command="explain", by=by, people=[key], customer=customer)
    found, at_iys = run_on_ledger(lambda ledger: _find(ledger, key, customer), look=look)
    if found.unread is not None:
        err.print(Text(str(found.unread), "bold red"))
    if not found.is_known:
        err.print("nothing is known of this recipient")
        raise typer.Exit(ExitCode.WRONG)
    if ask:
        rows = [row for row in found.history.rows if row.brand_code in found.brands]
        run_at_iys(lambda ledger, client: iys_history.ask(ledger, client, rows, by=by))
        found, at_iys = run_on_ledger(lambda ledger: _find(ledger, key, customer))
    match output:
        case OutputFormat.JSON:
            print_json(_as_json(found, at_iys))
        case OutputFormat.TABLE:
            _print(found, at_iys, spoken(language))


def _as_json(
    found: KnownRecipient, at_iys: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, object]:
    return {
        "keys": [
            asdict(row)
            | {
                "suspended": found.suspended(_SAID, row),
                "gate_suspended": found.gate(_SAID, row),
            }
            for row in found.history.rows
        ],
        "history": [asdict(fact) for fact in found.history.facts],
        "iys_history": at_iys,
        "deliveries": [dict(one) for one in found.sent],
        "looks": [asdict(look) for look in found.looks],
        "unread": found.unread and str(found.unread),
    }


async def _find(
    ledger: Ledger, key: str, customer: str | None
) -> tuple[KnownRecipient, Mapping[str, Mapping[str, Any]]]:
    """Return what is known of a recipient, and by key İYS's own history of it."""
    known = await find(ledger, key, customer, StreamSettings().suppressions)
    return known, await iys_history.found(ledger, [one.key for one in known.sections()])


def _print(found: KnownRecipient, at_iys: Mapping[str, Mapping[str, Any]], words: Words) -> None:
    """Print a section a key: its state, its history, what İYS's own history has where it was asked,
    and what subscribers took.
    """
    said = Explanation(words)
    for key, row, facts in found.sections():
        out.print(Text(said.heading(key), "bold"))
        if row is not None:
            suspended, gate = found.suspended(said, row), found.gate(said, row)
            print_fields(said.state_rows(row, suspended, gate))
            if row.state == "parked":
                remedy = remedy_of_parked(row.brand_code, row.reason, key=key)
                out.print(Text(words.text(line_of(remedy))), soft_wrap=True)
        print_rows(OutputFormat.TABLE, [*map(words.text, HISTORY)], said.history_rows(facts))
        if history := at_iys.get(key):
            asked = f"by {history['asked_by']}, {turkish(history['asked_at'])}"
            out.print(Text(f"İYS's own history, asked {asked}", "bold"))
            print_rows(OutputFormat.TABLE, iys_history.COLUMNS, iys_history.rows(history))
            warn(*iys_history.differences(key, history))
        if rows := said.delivery_rows(one for one in found.sent if one["key"] == key):
            print_rows(OutputFormat.TABLE, [*map(words.text, DELIVERIES)], rows)
    if found.looks:
        out.print(Text(words.text("who looked at the recipient"), "bold"))
        print_rows(OutputFormat.TABLE, [*map(words.text, HISTORY)], said.history_rows(found.looks))


@receipts_app.command()
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
    asked = next((fact for fact in facts if "recipients" in fact.data), None)
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
