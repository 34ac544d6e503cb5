"""Which workers run: members of the order workers' group, and what an HTTP endpoint answers.

Living sink workers are in the ledger (``reads.living``). Processes are not looked for: they may be
on other machines.
"""

import httpx
from confluent_kafka import KafkaError, KafkaException

from izin.runtime import kafka
from izin.runtime.settings import FeedsSettings, GateSettings, IntakeSettings, KafkaSettings

_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not listened on


def order_workers(settings: KafkaSettings, group: str) -> int:
    """Return how many members the group of the order workers has; raises BrokerError."""
    client = kafka.admin(settings)
    with kafka.broker_errors(settings):
        asked = client.describe_consumer_groups([group], request_timeout=kafka.TIMEOUT)
        try:
            return len(asked[group].result(kafka.TIMEOUT).members)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return 0
            raise


def endpoint_url(settings: IntakeSettings | FeedsSettings | GateSettings) -> str:
    """Return where the process of these settings answers whether it is ready."""
    host = "127.0.0.1" if settings.host in _ANY_ADDRESS else settings.host
    return f"http://{host}:{settings.port}"


def endpoint_status(url: str, timeout: float) -> int | None:
    """Return the HTTP status of a process's readiness, None where nothing answers."""
    try:
        return httpx.get(f"{url}/health/ready", timeout=timeout, trust_env=False).status_code
    except httpx.HTTPError:
        return None
