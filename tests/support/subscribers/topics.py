"""Topics of a broker that tests share."""

from confluent_kafka.admin import AdminClient

from izin.runtime.settings import KafkaSettings
from tests.support.waiting import until


def delete_topics(settings: KafkaSettings, *some: str) -> None:
    """Delete our topics, or ``some`` of them; return once the broker has them no more."""
    client = AdminClient({"bootstrap.servers": settings.bootstrap_servers})
    names = [*some] or [one.name for one in settings.topics]
    for deleted in client.delete_topics(names).values():
        deleted.result(20)
    until(lambda: not set(names) & set(client.list_topics(timeout=10).topics))
