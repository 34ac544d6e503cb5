"""Relay an outbox in the foreground: ``python -m izin.producers.outbox``."""

from enum import StrEnum
from typing import Annotated

import typer

from izin.kafka.clients import run_process
from izin.producers.outbox.process import serve
from izin.producers.outbox.relay import sql as text_of
from izin.runtime.settings import OutboxSettings


class OutboxSql(StrEnum):
    """What of the outbox is printed."""

    TABLE = "table"
    NOTIFY = "notify"
    EXAMPLE = "example"


def main(
    sql: Annotated[
        OutboxSql | None,
        typer.Option(
            help="Print the SQL of the table, of what wakes the relay, or of an example of a "
            "trigger, for psql; then end."
        ),
    ] = None,
) -> None:
    """Relay consents and opt-outs from a table in your own system's PostgreSQL database.

    A row of it is deleted once Kafka has acknowledged its event, and put aside with the reasons
    where it cannot be published. It runs until SIGTERM or Ctrl-C. Exit code 4 if a setting or a
    server is at fault.
    """
    if sql is not None:
        typer.echo(text_of(sql), nl=False)
        return
    run_process("outbox start failed", serve, OutboxSettings)


if __name__ == "__main__":
    main()
