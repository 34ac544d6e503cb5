"""``izin ledger``: verify that the history is the one that was written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from izin.consent.errors import SourceError
from izin.console.read_topic import read_all
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    kafka_settings,
    print_json,
    print_rows,
    say,
)
from izin.runtime.kafka import BrokerError
from izin.runtime.registry import codec
from izin.runtime.settings import KafkaSettings
from izin.sinks.ledger.history import verify as chains
from izin.sinks.record.anchor import Anchor
from izin.sinks.record.errors import UnreadableAnchorError

app = typer.Typer(help="Check the ledger, the database of record.", no_args_is_help=True)

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
            help="A file of anchors (IZIN_ANCHOR_FILE); repeat it for each.",
        ),
    ] = None,
    topic: Annotated[bool, typer.Option(help="Check the anchors in the topic too.")] = True,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Recompute the hash chains of the history; name each row changed, moved, added or removed.

    Anchors are hashes stored outside the ledger, in a topic and in the files given: what was
    written before one cannot be changed unnoticed. Exit code 1 if anything is wrong.
    """
    with exit_on_error():
        known = [one for path in anchors or () for one in _of_file(path)]
        if topic:
            known += _of_topic(kafka_settings())
        found = run_on_ledger(lambda ledger: chains.verify(ledger, known))
    rows = [(one.shard, one.after, one.place, one.what) for one in found.faults]
    match output:
        case OutputFormat.JSON:
            faults = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
            print_json({"rows": found.rows, "anchors": found.anchors, "faults": faults})
        case OutputFormat.TABLE:
            if rows:
                print_rows(output, _COLUMNS, rows)
            say(
                f"{found.rows} rows verified against {found.anchors} anchors: "
                f"{len(rows) or 'no'} faults"
            )
    exit_if(rows)


def _of_file(path: Path) -> tuple[Anchor, ...]:
    try:
        return chains.read_anchors(path)
    except UnreadableAnchorError as error:
        raise SourceError(f"{error}: is it a file of anchors (IZIN_ANCHOR_FILE)?") from error


def _of_topic(settings: KafkaSettings) -> Iterator[Anchor]:
    try:
        for one in read_all(settings, codec(settings), settings.topics.anchors):
            yield Anchor(
                id=one.value["anchor_id"],
                shard=one.value["shard"],
                place=one.value["place"],
                link=bytes.fromhex(one.value["link"]),
                anchored_at=one.value["anchored_at"],
            )
    except BrokerError as error:
        raise BrokerError(f"{error} (--no-topic verifies without the topic's anchors)") from error
