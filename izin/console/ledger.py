"""``izin ledger``: whether the history is the one that was written."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from confluent_kafka import KafkaException

from izin.consent.errors import SourceError
from izin.console.read_topic import read_all
from izin.console.terminal.ledger_session import open_ledger
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    kafka_settings,
    print_json,
    print_rows,
    say,
    told,
)
from izin.runtime.kafka import BrokerError
from izin.runtime.registry import codec
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger.history import verify as chains
from izin.sinks.ledger.history.verify import Anchor
from izin.sinks.record.errors import UnreadableAnchorError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from izin.runtime.settings import KafkaSettings
    from izin.sinks.ledger.history.verify import Verified

app = typer.Typer(help="The ledger and its history.", no_args_is_help=True)

_COLUMNS = ("shard", "after", "place", "what")


@app.command()
def verify(
    *,
    anchors: Annotated[
        list[Path] | None,
        typer.Option(
            "--anchors",
            exists=True,
            dir_okay=False,
            readable=True,
            help="A file of anchors (IZIN_ANCHOR_FILE); may be repeated.",
        ),
    ] = None,
    topic: Annotated[bool, typer.Option(help="Compare with the anchors in the topic, too.")] = True,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Reckon the chains of history anew and name every row that was changed, moved, put in or
    taken out.

    What was written before an anchor cannot be changed unseen, for the anchor lies outside the
    ledger: in the topic, and in the files given. Exit code 1 if anything is wrong.
    """
    with told():
        known = [one for path in anchors or () for one in _of_file(path)]
        if topic:
            known += _of_topic(kafka_settings())
        found = asyncio.run(_verify(LedgerSettings(), known))
    match output:
        case OutputFormat.JSON:
            faults = [{name: getattr(one, name) for name in _COLUMNS} for one in found.faults]
            print_json({"rows": found.rows, "anchors": found.anchors, "faults": faults})
        case OutputFormat.TABLE:
            if found.faults:
                rows = [[getattr(one, name) for name in _COLUMNS] for one in found.faults]
                print_rows(output, _COLUMNS, rows)
            say(
                f"{found.rows} rows verified against {found.anchors} anchors: "
                f"{len(found.faults) or 'no'} faults"
            )
    if found.faults:
        raise typer.Exit(ExitCode.WRONG)


async def _verify(settings: LedgerSettings, known: list[Anchor]) -> Verified:
    async with open_ledger(settings) as ledger:
        return await chains.verify(ledger, known)


def _of_file(path: Path) -> tuple[Anchor, ...]:
    try:
        return chains.read_anchors(path)
    except UnreadableAnchorError as error:
        raise SourceError(f"{error}: is it a file of anchors (IZIN_ANCHOR_FILE)?") from error


def _of_topic(settings: KafkaSettings) -> Iterator[Anchor]:
    try:
        for one in read_all(settings, codec(settings), settings.topics.anchors):
            said = one.value
            yield Anchor(
                id=said["anchor_id"],
                shard=said["shard"],
                place=said["place"],
                link=bytes.fromhex(said["link"]),
                anchored_at=said["anchored_at"],
            )
    except KafkaException as error:
        raise BrokerError(
            f"Kafka at {settings.bootstrap_servers}: {error.args[0].str()}; is it running, and is "
            "KAFKA_BOOTSTRAP_SERVERS right? --no-topic does without the topic's anchors"
        ) from error
