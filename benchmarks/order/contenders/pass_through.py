"""librdkafka alone: records are copied, undecoded and without state, as the upper bound.

Large batches, as confluent-kafka recommends for throughput; a lingering, compressing producer;
offsets committed in the background.
"""

from confluent_kafka import Consumer, Producer

from benchmarks.order.contenders.task import Task

_BATCH = 10_000


def main(task: Task) -> None:
    """Copy until ended."""
    consumer = Consumer(
        {
            "bootstrap.servers": task.bootstrap_servers,
            "group.id": task.app,
            "auto.offset.reset": "earliest",
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": task.bootstrap_servers,
            "linger.ms": 5,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    consumer.subscribe([task.events])
    while True:
        for message in consumer.consume(_BATCH, 0.05):
            if message.error() is None:
                producer.produce(
                    task.output,
                    key=message.key(),
                    value=message.value(),
                    partition=message.partition() or 0,
                )
        # A batch is far smaller than the queue: once half of it is full, wait.
        producer.poll(0)
        while len(producer) > 500_000:  # noqa: PLR2004 - half of the queue
            producer.poll(0.01)


if __name__ == "__main__":
    main(Task.from_command_line())
