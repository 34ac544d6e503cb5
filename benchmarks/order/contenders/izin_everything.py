"""The product as it is: the order worker with admission, decisions, opt-outs and dead letters."""

from benchmarks.order.contenders.task import Task
from izin.kafka.clients import codec
from izin.local.reservations import free_port
from izin.runtime.logs import configure
from izin.runtime.settings import KafkaSettings, LogSettings, StreamSettings
from izin.streams.engine.app import run


def settings(task: Task) -> tuple[KafkaSettings, StreamSettings]:
    """Return the settings of a worker of the installation that ``task`` names."""
    kafka = KafkaSettings(
        bootstrap_servers=task.bootstrap_servers,
        registry_url=None,
        topic_prefix=task.prefix,
        partitions=int(task.partitions),
    )
    return kafka, StreamSettings(app_id=task.app, port=free_port())


def main(task: Task) -> None:
    """Run until the process is ended."""
    configure(LogSettings())
    kafka, streams = settings(task)
    run(kafka, streams, codec(kafka))


if __name__ == "__main__":
    main(Task.from_command_line())
