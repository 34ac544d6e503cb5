"""Faust as its tutorial shows it: an agent, an event a step, a table, and a send for each change.

The table is in memory with a changelog, Faust's default. Keys and values are raw bytes, so that
nothing is encoded twice; ``topic_disable_leader`` and the large poll are the options for throughput
in its documentation.
"""

from typing import Any

import faust

from benchmarks.order.contenders.latest_wins import step
from benchmarks.order.contenders.task import Task
from izin.local.reservations import free_port
from izin.schemas.codec import Codec


def app_of(task: Task) -> faust.App:
    """Return a Faust app with the settings that both Faust contenders share."""
    return faust.App(
        task.app,
        broker=f"kafka://{task.bootstrap_servers}",
        consumer_auto_offset_reset="earliest",
        broker_max_poll_records=5000,
        producer_linger=0.005,
        producer_compression_type="lz4",
        topic_partitions=int(task.partitions),
        topic_disable_leader=True,
        key_serializer="raw",
        value_serializer="raw",
        store="memory://",
        datadir=task.folder,
        web_host="127.0.0.1",
        web_bind="127.0.0.1",
        web_port=free_port(),
    )


def table_of(app: faust.App, task: Task, *, use_partitioner: bool = False) -> Any:  # noqa: ANN401  # Faust is untyped
    """Return the table of the latest row of each key."""
    return app.Table(
        "latest",
        partitions=int(task.partitions),
        use_partitioner=use_partitioner,
        schema=faust.Schema(
            key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        ),
    )


def run(app: faust.App, task: Task) -> None:
    """Run the app's worker until ended."""
    faust.Worker(
        app, override_logging=False, redirect_stdouts=False, quiet=True, workdir=task.folder
    ).execute_from_commandline()


def main(task: Task) -> None:
    """Run until the process is ended."""
    app, codec = app_of(task), Codec()
    latest = table_of(app, task)
    output = app.topic(task.output, key_type=bytes, value_type=bytes)

    @app.agent(app.topic(task.events, key_type=bytes, value_type=bytes))
    async def latest_row(stream: Any) -> None:  # noqa: ANN401  # Faust is untyped
        async for key, event in stream.items():
            row = step(codec, event, latest.get(key))
            if row is not None:
                latest[key] = row
                await output.send(key=key, value=row)

    run(app, task)


if __name__ == "__main__":
    main(Task.from_command_line())
