"""``izin dead-letters``: records that could not be processed, where they are, why, and who has
acknowledged them.
"""

import base64
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from izin.consent.errors import SourceError
from izin.console.dead_letters.letters import acknowledged, key_of
from izin.console.read_topic import TopicRecord, read_all
from izin.console.terminal.arguments import ByOption, YesOption, filled
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_on_error,
    kafka_settings,
    print_json,
    print_rows,
    say,
    turkish,
)
from izin.runtime.kafka import codec
from izin.sinks.ledger import dead_letters as ledger_letters
from izin.sinks.ledger.dead_letters import Acknowledgement, LetterKey

app = typer.Typer()

_COLUMNS = ("letter", "when (Turkey)", "position", "reason", "violations", "acknowledged")


@app.callback(
    invoke_without_command=True,
    help="List and acknowledge records that could not be processed. Alone it does `list`.",
)
def dead_letters(context: typer.Context, *, output: OutputOption = OutputFormat.TABLE) -> None:
    """Run ``list`` where no subcommand is given."""
    command = context.invoked_subcommand
    if command is None:
        list_(output=output)
    elif output is not OutputFormat.TABLE:
        raise typer.BadParameter(
            f"write it after the command: izin dead-letters {command} --output"
        )


@app.command("list")
def list_(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the dead letters: where the record was, why it could not be processed, and who has
    acknowledged it.

    The JSON also has the original bytes in base64; they are personal data.
    """
    with exit_on_error():
        found = _read()
        known = acknowledged(found)
    if known is None:
        say("the ledger cannot be read (DATABASE_URL), so it is not shown who acknowledged which")
        known = {}
    match output:
        case OutputFormat.JSON:
            print_json([_as_json(key, one, known.get(key)) for key, one in found.items()])
        case OutputFormat.TABLE:
            rows = [_row(key, one.value, known.get(key)) for key, one in found.items()]
            print_rows(output, _COLUMNS, rows)


@app.command()
def acknowledge(
    letters: Annotated[
        list[str] | None,
        typer.Argument(help="Which, as izin dead-letters names them: partition/offset."),
    ] = None,
    *,
    reason: Annotated[
        str, typer.Option(help="What was done about them, or why nothing is.", callback=filled)
    ],
    every: Annotated[
        bool, typer.Option("--all", help="Every dead letter that nobody has acknowledged.")
    ] = False,
    by: ByOption,
    yes: YesOption = False,
) -> None:
    """Acknowledge dead letters, so that izin doctor no longer reports them.

    They stay where they are. Who acknowledged which, and why, is written to the history. Exit code
    3 if there is no such letter, or it is acknowledged already.
    """
    if bool(letters) is every:
        raise typer.BadParameter("name the dead letters, or say --all")
    with exit_on_error():
        found = {f"{key.partition}/{key.offset}": key for key in _read()}
        known = run_on_ledger(lambda ledger: ledger_letters.acknowledged(ledger, found.values()))
        waiting = {name: key for name, key in found.items() if key not in known}
        if unknown := [one for one in letters or () if one not in waiting]:
            raise SourceError(
                f"no dead letter {', '.join(unknown)} waits to be acknowledged; "
                "see: izin dead-letters"
            )
        chosen = [waiting[one] for one in dict.fromkeys(letters or waiting)]
        if yes:
            now = datetime.now(UTC)
            run_on_ledger(
                lambda ledger: ledger_letters.acknowledge(
                    ledger, chosen, by=by, reason=reason, now=now
                )
            )
    if yes:
        say(f"{len(chosen)} dead letters are acknowledged by {by}")
    else:
        say(f"{len(chosen)} dead letters would be acknowledged by {by}; add --yes to do it")


def _read() -> dict[LetterKey, TopicRecord]:
    settings = kafka_settings()
    topic = settings.topics.dead_letters
    return {key_of(topic.name, one): one for one in read_all(settings, codec(settings), topic)}


def _row(
    key: LetterKey, letter: Mapping[str, Any], acknowledgement: Acknowledgement | None
) -> tuple[object, ...]:
    wrong = (f"{one['field']}: {one['reason']} ({one['code']})" for one in letter["violations"])
    position = f"{letter['topic']}/{letter['partition']}/{letter['offset']}"
    return (
        f"{key.partition}/{key.offset}",
        letter["timestamp"],
        position,
        letter["reason"],
        "\n".join(wrong),
        _acknowledged(acknowledgement),
    )


def _acknowledged(one: Acknowledgement | None) -> str:
    return "" if one is None else f"{one.reason}\n(by {one.by}, {turkish(one.at)})"


def _as_json(
    key: LetterKey, letter: TopicRecord, acknowledgement: Acknowledgement | None
) -> dict[str, object]:
    shown: dict[str, object] = {
        "letter": f"{key.partition}/{key.offset}",
        "acknowledged": acknowledgement and asdict(acknowledgement),
    }
    return shown | {name: _jsonable(value) for name, value in letter.value.items()}


def _jsonable(value: object) -> object:
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {name: _jsonable(one) for name, one in value.items()}
        case list():
            return [_jsonable(one) for one in value]
        case _:
            return value
