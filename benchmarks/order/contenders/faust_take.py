"""Faust with ``take()``: a thousand events a step, a table, and librdkafka to write the changes.

Within a step each key's row is put into the table once, so the changelog is shorter; each change is
still written to the output.
"""

from typing import Any

from confluent_kafka import Producer

from benchmarks.order.contenders.faust_table import app_of, run, table_of
from benchmarks.order.contenders.latest_wins import step
from benchmarks.order.contenders.task import Task
from izin.schemas.codec import Codec

_BATCH = 1000
_WITHIN = 0.1


def main(task: Task) -> None:
    """Run until the process is ended."""
    app, codec = app_of(task), Codec()
    # Within take() Faust does not know the partition: its partitioner computes it again.
    latest = table_of(app, task, use_partitioner=True)
    producer = Producer(
        {
            "bootstrap.servers": task.bootstrap_servers,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )

    @app.agent(app.topic(task.events, key_type=bytes, value_type=bytes))
    async def latest_row(stream: Any) -> None:  # noqa: ANN401  # Faust is untyped
        async for events in stream.take_events(_BATCH, within=_WITHIN):
            changed: dict[bytes, bytes] = {}
            for event in events:
                key = event.key
                row = step(codec, event.value, changed.get(key) or latest.get(key))
                if row is not None:
                    changed[key] = row
                    producer.produce(task.output, key=key, value=row)
            for key, row in changed.items():
                latest[key] = row
            producer.poll(0)

    run(app, task)


if __name__ == "__main__":
    main(Task.from_command_line())
