"""Quix Streams: a stateful function over the stream, RocksDB with a changelog topic, its default.

It runs in an environment of its own (``quix_environment``), because it pins older clients. Values
are bytes throughout, so that nothing is encoded as JSON; its producer has the same linger and
compression as ours.
"""

from quixstreams import Application, State

from benchmarks.order.contenders.latest_wins import step
from benchmarks.order.contenders.task import Task
from izin.schemas.codec import Codec

_ROW = "row"


def main(task: Task) -> None:
    """Run until the process is ended."""
    codec = Codec()
    app = Application(
        broker_address=task.bootstrap_servers,
        consumer_group=task.app,
        auto_offset_reset="earliest",
        state_dir=task.folder,
        producer_extra_config={"linger.ms": 5, "compression.type": "lz4"},
        loglevel="WARNING",
    )

    def latest_row(event: bytes, state: State) -> bytes | None:
        row = step(codec, event, state.get_bytes(_ROW))
        if row is not None:
            state.set_bytes(_ROW, row)
        return row

    events = app.topic(task.events, key_deserializer="bytes", value_deserializer="bytes")
    output = app.topic(task.output, key_serializer="bytes", value_serializer="bytes")
    rows = app.dataframe(events).apply(latest_row, stateful=True)
    rows.filter(lambda row: row is not None).to_topic(output)
    app.run()


if __name__ == "__main__":
    main(Task.from_command_line())
