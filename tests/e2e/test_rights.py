"""The demo where each process has its rights in Kafka and no others, and what they refuse."""

import asyncio
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from izin.cli.doctor.rights import of_kafka
from izin.kafka.clients import admin, consumer, ensure_topics, producer
from izin.kafka.rights import ROLES, Acl, Resource, acls
from izin.runtime.settings import KafkaSettings
from izin.schemas.topics import Topics
from tests.e2e.demo_of_roles import PREFIX
from tests.e2e.stack import left_behind
from tests.e2e.test_secure_demo import assert_complete, run_demo
from tests.support.secure import AclKafka, Authority, database_with_tls

pytestmark = pytest.mark.e2e
TOPICS = Topics("acts-")
"""Of the acts; the demo has its own."""
NAMES = tuple(vars(TOPICS).keys() - {"prefix"})
REFUSED = KafkaError.TOPIC_AUTHORIZATION_FAILED


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[AclKafka]:
    """Run a broker whose principals have the rights of their roles."""
    with AclKafka(tmp_path_factory.mktemp("acls"), authority) as kafka:
        for name, role in ROLES.items():
            kafka.allow(name, [*acls(role, TOPICS), *acls(role, Topics(PREFIX))])
        yield kafka


@pytest.fixture(scope="module")
def topics(broker: AclKafka) -> None:
    """Create the topics of the acts, with a record each, as the operator."""
    with pytest.MonkeyPatch.context() as patched:
        settings = settings_of(broker, "operator", patched)
    ensure_topics(settings)
    client = producer(settings)
    for name in NAMES:
        client.produce(getattr(TOPICS, name).name, b"made up", b"key")
    assert client.flush(30) == 0


def settings_of(broker: AclKafka, role: str, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    """Return the settings of a process of a role."""
    for name, value in {**broker.environment(), "KAFKA_SASL_USERNAME": role}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IZIN_TOPIC_PREFIX", TOPICS.prefix)
    monkeypatch.setenv("IZIN_PARTITIONS", "1")
    return KafkaSettings()


async def test_demo_passes_where_each_process_has_its_rights_alone(
    tmp_path: Path, broker: AclKafka, postgres: str, authority: Authority
) -> None:
    """8,000 rows, signups and citizens are explained, though each worker is killed once: nothing
    lost, nothing twice, no opt-out missing; and no process is left running.

    Kafka speaks SASL_SSL, and PostgreSQL is verified by certificate and host; the demo starts
    neither, and both secrets come from files.
    """
    given = broker.environment()
    async with database_with_tls(postgres, authority.issue("ledger"), authority) as url:
        for name, secret in (
            ("KAFKA_SASL_PASSWORD", given.pop("KAFKA_SASL_PASSWORD")),
            ("DATABASE_URL", url),
        ):
            file = tmp_path / name
            file.write_text(f"{secret}\n", encoding="utf-8")
            given[f"{name}_FILE"] = str(file)
        options = ("--rows", "8000", "--chaos")
        module = "tests.e2e.demo_of_roles"
        code, report, messages = await asyncio.to_thread(
            partial(run_demo, tmp_path, *options, module=module, **given)
        )
    assert code == 0, messages
    assert_complete(report)
    counted = (report["rows_read"], report["signups"], report["push"]["measured"])
    assert (*counted, report["dead_letters"]) == (8000, 200, 500, 0)
    killed = sorted(one["killed"] for one in report["chaos"])
    assert killed == ["intake", "order worker", "sink worker"]
    assert "KAFKA_BOOTSTRAP_SERVERS names one" in messages
    assert "DATABASE_URL names one" in messages
    assert list(left_behind(tmp_path)) == []


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize("role", [name for name, role in ROLES.items() if not role.administers])
def test_role_may_write_what_it_is_for_and_nothing_else(
    broker: AclKafka, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    """Of every topic: the broker says which."""
    options = {"enable.idempotence": False}  # else one that may write nothing fails as a whole
    client = producer(settings_of(broker, role, monkeypatch), **options)
    found: dict[str, KafkaError | None] = {}

    def take(error: KafkaError | None, message: Message) -> None:
        found[str(message.topic()).removeprefix(TOPICS.prefix)] = error

    for name in NAMES:
        client.produce(getattr(TOPICS, name).name, b"made up", b"key", on_delivery=take)
    assert client.flush(30) == 0
    writes = {getattr(Topics(), name).name for name in ROLES[role].writes}
    assert {name for name, error in found.items() if error is None} == writes
    assert {error.code() for error in found.values() if error is not None} <= {REFUSED}


def errors_of(client: Consumer, topics: Collection[str]) -> Mapping[str, KafkaError | None]:
    """Return why the first record of each topic cannot be read; None: it can."""
    client.assign([TopicPartition(one, 0, OFFSET_BEGINNING) for one in topics])
    found: dict[str, KafkaError | None] = {}
    while len(found) < len(topics):
        message = client.poll(15)
        assert message is not None
        found.setdefault(str(message.topic()), message.error())
    return found


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize("role", [name for name, role in ROLES.items() if not role.administers])
def test_role_may_read_what_it_is_for_and_nothing_else(
    broker: AclKafka, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    """Of every topic."""
    with closing(consumer(settings_of(broker, role, monkeypatch), "izin-acts")) as client:
        ours = {getattr(TOPICS, name).name: name for name in NAMES}
        found = errors_of(client, ours.keys() & client.list_topics(timeout=15).topics.keys())
    readable = {ours[topic] for topic, error in found.items() if error is None}
    assert {error.code() for error in found.values() if error is not None} <= {REFUSED}
    assert readable == set(ROLES[role].reads)


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize("role", [name for name, role in ROLES.items() if not role.administers])
def test_role_administers_nothing(
    broker: AclKafka, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    """It deletes no topic, whatever it writes there."""
    client = admin(settings_of(broker, role, monkeypatch))
    for name in NAMES:
        (future,) = client.delete_topics([getattr(TOPICS, name).name]).values()
        with pytest.raises(KafkaException):
            future.result(15)


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize("role", ROLES)
def test_doctor_finds_each_role_to_have_its_rights(
    broker: AclKafka, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    """By what the login itself may do; an operator sees those of every principal."""
    (found,) = of_kafka(settings_of(broker, role, monkeypatch))
    assert found.state == "ok", found
    named = found.what.partition(":")[0].split(", ")
    assert named == (list(ROLES) if ROLES[role].administers else [role])


EVENTS, DECISIONS = TOPICS.events.name, TOPICS.decisions.name


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize("role", ["gate", "operator"])
@pytest.mark.parametrize(
    ("change", "what"),
    [
        (Acl(Resource.TOPIC, DECISIONS, "Write"), "more than gate: Write on topic {name};"),
        (Acl(Resource.TOPIC, "*", "AlterConfigs"), "more than gate: .*AlterConfigs on topic"),
        (Acl(Resource.GROUP, "acts-izin-order", "Read", is_prefix=True), "more .* Read on group"),
        (Acl(Resource.TOPIC, EVENTS, "Read"), "lacks what gate has: .*Read on topic {name}"),
        (Acl(Resource.GROUP, "izin-", "Describe", is_prefix=True), "lacks .* group izin-[*];"),
    ],
)
def test_doctor_names_a_right_at_kafka_that_is_missing_or_too_wide(
    broker: AclKafka, monkeypatch: pytest.MonkeyPatch, role: str, change: Acl, what: str
) -> None:
    """Of the gate: to itself, and to an operator."""
    is_wanted = change in set(acls(ROLES["gate"], TOPICS))
    there, back = (broker.withdraw, broker.allow)[:: 1 if is_wanted else -1]
    there("gate", [change])
    try:
        found = [*of_kafka(settings_of(broker, role, monkeypatch))]
    finally:
        back("gate", [change])
    assert {one.state for one in found} == {"wrong"}
    assert re.search(what.format(name=change.name), found[0].what), found
    assert "kafka-acls.sh" in found[0].what or "acls.sh" in found[0].what


@pytest.mark.usefixtures("topics")
def test_doctor_names_a_right_of_everybody(
    broker: AclKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is every principal's, whatever its own are."""
    change = [Acl(Resource.TOPIC, EVENTS, "Write")]
    broker.allow("*", change)
    try:
        found = of_kafka(settings_of(broker, "operator", monkeypatch))
    finally:
        broker.withdraw("*", change)
    assert [one.state for one in found] == ["wrong"]
    assert found[0].what.startswith(f"User:* may do more than any role: Write on topic {EVENTS};")


@pytest.mark.usefixtures("topics")
def test_doctor_compares_a_nameless_login_with_the_nearest_role(
    broker: AclKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate has no name that the settings know: what it may do tells the role."""
    settings = settings_of(broker, "feeds", monkeypatch)
    # The options have the login; the name is what the doctor sees.
    monkeypatch.setattr("izin.cli.doctor.rights._is_of", lambda *_: False)
    (found,) = of_kafka(settings)
    assert (found.state, found.what.partition(":")[0]) == ("ok", "feeds")
