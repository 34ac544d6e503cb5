"""The Kafka clients' logs are the process's own.

What librdkafka gets of encryption and authentication, and what to do where either fails.

The libraries read the variables as the settings do, without the settings.
What docs/security.md shows can be set, and is taken.

A plan: written, read back, and refused once it was edited, or something has moved.

Where a topic ends, by leaders of which some do not answer.

Kafka's silence is noticed in time, and said once.
"""

import logging
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from pydantic import SecretStr
from structlog.testing import capture_logs
from structlog.typing import EventDict

from izin.kafka import clients, connections
from izin.kafka.access import VARIABLES, KafkaAccess
from izin.kafka.broker_watch import BrokerWatch
from izin.kafka.clients import access_of, broker_errors
from izin.kafka.connections import while_leaders_move
from izin.kafka.follower import end
from izin.kafka.follower.end import TopicEnd
from izin.runtime import settings
from izin.runtime.errors import BrokerError, RegistryError, SettingError
from izin.runtime.plan import (
    Bounds,
    OtherPlanError,
    Plan,
    PlanMovedError,
    PrivateLines,
    Selection,
    UnreadablePlanError,
    lines_of,
    work_folder,
    write_private,
)
from izin.runtime.setting_rules.checks import SECRETS, SECURITY, security_options_of
from izin.runtime.setting_rules.group import SUFFIX, SettingsGroup, secret_variables
from izin.runtime.settings import KafkaSettings, SaslMechanism, SecurityProtocol
from tests.support.secure import Authority
from tests.support.waiting import ManualClock

SECRET_TEXT = SecretStr("obviously-fake")
PLAIN = KafkaSettings(bootstrap_servers="127.0.0.1:1")
"""No broker listens there."""
TOKEN_LOGIN = PLAIN.model_copy(update={"sasl_mechanism": SaslMechanism.OAUTHBEARER})
SECRET = "obviously-fake"
SCRAM = {
    "KAFKA_BOOTSTRAP_SERVERS": "kafka.example.com:9093",
    "KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
    "KAFKA_SASL_MECHANISM": "scram-sha-512",
    "KAFKA_SASL_USERNAME": "izin",
    "KAFKA_SASL_PASSWORD": SECRET,
}
TOKENS = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
    "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": "https://login.example.com/token",
    "KAFKA_SASL_OAUTHBEARER_CLIENT_ID": "izin",
    "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": SECRET,
    "KAFKA_SASL_OAUTHBEARER_SCOPE": "kafka",
}
REGISTRY = {
    "SCHEMA_REGISTRY_URL": "https://registry.example.com",
    "SCHEMA_REGISTRY_USERNAME": "izin",
    "SCHEMA_REGISTRY_PASSWORD": SECRET,
    "IZIN_TOPIC_PREFIX": "test-",
    "IZIN_KAFKA_LOG_LEVEL": "2",
}


@pytest.mark.parametrize(
    "client",
    [clients.producer, lambda settings: clients.consumer(settings, "group"), clients.admin],
    ids=["producer", "consumer", "admin"],
)
def test_a_clients_errors_are_logged_and_never_written_to_stderr(
    client: Callable[[KafkaSettings], Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A line of a library on a terminal would look like something a person must act on."""
    made = client(PLAIN)
    for _ in range(100):
        made.poll(0.1)
        if caplog.records:
            break
    assert {(one.name, one.levelno) for one in caplog.records} == {("librdkafka", logging.ERROR)}
    assert "127.0.0.1:1" in caplog.text
    assert capfd.readouterr().err == ""


def test_librdkafka_is_silent_where_nothing_sets_logging_up() -> None:
    """Python writes warnings without any handler to standard error: there is one."""
    assert any(
        isinstance(one, logging.NullHandler) for one in logging.getLogger("librdkafka").handlers
    )


def test_request_is_repeated_while_a_leader_is_elected() -> None:
    """A topic that was just created has none yet; any other error is the caller's."""
    codes = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
    refused = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    moving = (KafkaException(KafkaError(code)) for code in codes)
    request = Mock(side_effect=[*moving, "answer", refused])
    assert while_leaders_move(request)("topic") == "answer"
    with pytest.raises(KafkaException):
        while_leaders_move(request)("topic")
    assert request.call_count == 4


def test_plain_connection_has_no_other_option() -> None:
    """As before there were such settings."""
    assert security_options_of(PLAIN.given) == {"security.protocol": "PLAINTEXT"}


def test_every_setting_is_an_option_that_librdkafka_knows() -> None:
    """Under Kafka's own names, with secrets in plain; a client can be made with all of them."""
    password = KafkaSettings.model_construct(
        security_protocol=SecurityProtocol.SASL_SSL,
        ssl_ca_file=Path("ca.pem"),
        ssl_certificate_file=Path("client.pem"),
        ssl_key_file=Path("key.pem"),
        ssl_key_password=SECRET_TEXT,
        sasl_mechanism=SaslMechanism.SCRAM_SHA_256,
        sasl_username="izin",
        sasl_password=SECRET_TEXT,
    )
    assert security_options_of(password.given) == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": "ca.pem",
        "ssl.certificate.location": "client.pem",
        "ssl.key.location": "key.pem",
        "ssl.key.password": "obviously-fake",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "izin",
        "sasl.password": "obviously-fake",
    }
    token = KafkaSettings(
        bootstrap_servers="127.0.0.1:1",
        security_protocol=SecurityProtocol.SASL_SSL,
        sasl_mechanism=SaslMechanism.OAUTHBEARER,
        oauth_token_url="https://127.0.0.1:1/token",
        oauth_client_id="izin",
        oauth_client_secret=SECRET_TEXT,
        oauth_scope="kafka",
    )
    assert security_options_of(token.given) == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": "https://127.0.0.1:1/token",
        "sasl.oauthbearer.client.id": "izin",
        "sasl.oauthbearer.client.secret": "obviously-fake",
        "sasl.oauthbearer.scope": "kafka",
    }
    assert clients.admin(token) is not None


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        (PLAIN, KafkaError._AUTHENTICATION, "KAFKA_SASL_PASSWORD"),
        (PLAIN, KafkaError.SASL_AUTHENTICATION_FAILED, "KAFKA_SASL_PASSWORD"),
        (TOKEN_LOGIN, KafkaError._AUTHENTICATION, "KAFKA_SASL_OAUTHBEARER_"),
        (PLAIN, KafkaError._SSL, "KAFKA_SSL_CA_FILE"),
        (PLAIN, KafkaError._RESOLVE, "KAFKA_BOOTSTRAP_SERVERS"),
        (PLAIN, KafkaError.TOPIC_AUTHORIZATION_FAILED, "KAFKA_BOOTSTRAP_SERVERS"),
        (PLAIN, KafkaError._TRANSPORT, r"127\.0\.0\.1:1.*[Cc]onnect"),
        (PLAIN, KafkaError.UNKNOWN_TOPIC_OR_PART, "izin doctor says what creates it"),
    ],
)
def test_broker_error_names_the_setting_by_its_code(
    settings: KafkaSettings, code: int, said: str
) -> None:
    """Not by its text, which changes with each release. A failure of the transport has its cause;
    a broker that misses a topic has answered, so its address is right.
    """
    with pytest.raises(BrokerError, match=said), broker_errors(settings):
        raise KafkaException(KafkaError(code))


def test_broker_that_is_back_is_reported_by_the_first_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is no cause to be found, and nobody waits long for one."""
    monkeypatch.setattr(connections, "_CAUSE_WITHIN", 0.0)
    with pytest.raises(BrokerError, match=r"[Tt]imed out|_TIMED_OUT"), broker_errors(PLAIN):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


@pytest.mark.parametrize("environ", [{}, SCRAM, TOKENS, REGISTRY])
def test_environment_means_what_it_means_to_the_settings(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    """Both readers give the same client, the same topics and the same registry."""
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    settings, access = KafkaSettings(), KafkaAccess.from_environment()
    connection = access_of(settings)
    assert access.bootstrap_servers == connection.bootstrap_servers
    assert access.options == connection.options
    assert access.topics.permissions.name == settings.topics.permissions.name
    assert access.registry_url == settings.registry_url
    assert (access.registry_login is None) == (settings.registry_password is None)


def test_every_variable_is_a_setting():
    """A name is a setting of Kafka's group, and a secret there is a secret here."""
    aliases = {str(one.validation_alias) for one in KafkaSettings.model_fields.values()}
    assert set(VARIABLES) < aliases
    assert {*SECRETS, "SCHEMA_REGISTRY_PASSWORD"} == set(secret_variables(KafkaSettings))
    assert {one for one in aliases if one.startswith(("KAFKA_S", "SCHEMA_"))} < set(VARIABLES)
    assert set(SECURITY) < set(VARIABLES)


def test_secret_may_be_in_a_file(tmp_path: Path):
    """As for every process of izin; and it is in no repr."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n", encoding="utf-8")
    environ = {**SCRAM, f"KAFKA_SASL_PASSWORD{SUFFIX}": str(file), "KAFKA_SASL_PASSWORD": ""}
    access = KafkaAccess.from_environment(environ)
    assert access.options["sasl.password"] == SECRET
    assert SECRET not in repr(access)


def test_certificates_are_options_of_the_client(tmp_path: Path):
    """The files are read before a client is made, so that an error names the variable."""
    authority = Authority(tmp_path)
    environ = {
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CA_FILE": str(authority.file),
    }
    assert KafkaAccess.from_environment(environ).options["ssl.ca.location"] == str(authority.file)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL=TLS is none of PLAINTEXT"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "needs KAFKA_SASL_MECHANISM"),
        ({"KAFKA_SASL_USERNAME": "izin"}, "KAFKA_SASL_USERNAME is set, and"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "a@b:1"}, "KAFKA_BOOTSTRAP_SERVERS has an @"),
        ({"SCHEMA_REGISTRY_USERNAME": "izin"}, "SCHEMA_REGISTRY_USERNAME is set without"),
        ({"IZIN_KAFKA_LOG_LEVEL": "9"}, "IZIN_KAFKA_LOG_LEVEL=9 is no log level"),
        ({"IZIN_PRODUCTION": "maybe"}, "neither true nor false"),
        ({"IZIN_PRODUCTION": "true"}, "IZIN_PRODUCTION=true refuses KAFKA_SECURITY_PROTOCOL"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_FILE": "/nowhere/ca.pem"},
            "KAFKA_SSL_CA_FILE=/nowhere/ca.pem cannot be read",
        ),
        (
            {
                "SCHEMA_REGISTRY_URL": "https://registry.example.com",
                "SCHEMA_REGISTRY_SSL_CA_FILE": "/nowhere/ca.pem",
            },
            "SCHEMA_REGISTRY_SSL_CA_FILE=/nowhere/ca.pem cannot be read",
        ),
        ({**SCRAM, f"KAFKA_SASL_PASSWORD{SUFFIX}": "/nowhere"}, "both set"),
    ],
)
def test_wrong_environment_names_variable_and_remedy(environ: dict[str, str], named: str):
    """By the rules of the settings; nothing secret is quoted."""
    with pytest.raises(SettingError, match=named) as raised:
        KafkaAccess.from_environment(environ)
    assert SECRET not in str(raised.value)


def test_codec_frames_without_a_registry_and_refuses_a_wrong_one():
    """Single-object encoding begins with C3 01; a registry's URL must be one."""
    access = KafkaAccess(bootstrap_servers="127.0.0.1:1")
    assert access.codec().header("Consent").startswith(b"\xc3\x01")
    with pytest.raises(RegistryError, match="is not the URL"):
        KafkaAccess(bootstrap_servers="127.0.0.1:1", registry_url="registry:8080").codec()


def test_schemas_of_newer_releases_may_be_in_a_folder(tmp_path: Path):
    """Where producers are newer and there is no registry."""
    schema = '{"type": "record", "name": "Consent", "namespace": "izin", "fields": []}'
    (tmp_path / "Consent.0000.avsc").write_text(schema, encoding="utf-8")
    access = KafkaAccess.from_environment({"IZIN_SCHEMA_FOLDER": str(tmp_path)})
    assert access.schema_folder == tmp_path
    assert access.codec().header("Consent").startswith(b"\xc3\x01")


PAGE = (Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8")
EXAMPLES = [
    dict(line.split("=", 1) for line in shlex.split(block, comments=True))
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
]
GROUPS = tuple(SettingsGroup.__subclasses__())
SECRET_NAMES = {name for group in GROUPS for name in secret_variables(group)}
KNOWN = {
    str(field.validation_alias) for group in GROUPS for field in group.model_fields.values()
} | {f"{name}{SUFFIX}" for name in SECRET_NAMES}


def test_every_setting_on_the_page_is_one() -> None:
    """Also those in its tables and sentences; … stands for the rest of a name."""
    named = set(re.findall(r"\b(?:KAFKA|SCHEMA_REGISTRY|DATABASE|IYS|IZIN)_[A-Z_]*[A-Z]\b", PAGE))
    assert len(named) > 20
    assert named - {"KAFKA_SASL_OAUTHBEARER"} <= KNOWN


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, Path]:
    """Return the files of the examples as a machine would have them, by the names there."""
    ours = Authority(tmp_path)
    client = ours.issue("client", password="obviously-fake")
    secret = tmp_path / "secret"
    secret.write_text("obviously-fake\n", encoding="ascii")
    return {
        "client.pem": client.certificate,
        "client-key.pem": client.key,
        **{f"{one}-ca.pem": ours.file for one in ("kafka", "login", "registry", "db")},
        **dict.fromkeys(("kafka", "kafka-client", "client-key", "registry"), secret),
    }


@pytest.mark.parametrize("given", EXAMPLES, ids=lambda given: next(iter(given)))
def test_example_is_taken(
    given: dict[str, str], machine: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its files in their places, in production wherever it is about all connections."""
    for name, value in given.items():
        file = machine.get(Path(value).name) if name.endswith(SUFFIX) else None
        monkeypatch.setenv(name, str(file or value))
    of_ledger = "DATABASE_URL" in given
    if of_ledger or "KAFKA_SECURITY_PROTOCOL" in given:
        monkeypatch.setenv("IZIN_PRODUCTION", "true")
    made = settings.LedgerSettings() if of_ledger else settings.KafkaSettings()
    taken = {f"{name}{suffix}" for name in made.given for suffix in ("", SUFFIX)}
    assert set(given) <= taken


_AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
_KEY = "600001/MESAJ/BIREYSEL/+905000000001"


def _plan(**changes: object) -> Plan:
    plan = Plan(
        kind="rebuild",
        target="desired-consents",
        selection=Selection(brands=frozenset({600001})),
        options={"workers": 2},
        cluster_id="a-cluster",
        topics={
            "consent-events": Bounds(
                topic_id="one", starts={0: 3}, ends={0: 9}, stands_still=False
            ),
            "desired-consents": Bounds(
                topic_id="two", starts={0: 0}, ends={0: 4}, stands_still=True
            ),
        },
        history={3: 12},
        closed_days=(date(2026, 5, 18),),
        made_at=_AT,
        by="an operator",
    )
    return replace(plan, **changes)  # type: ignore[arg-type]  # fields of a plan


def _with(plan: Plan, topic: str, **changes: object) -> Plan:
    moved = replace(plan.topics[topic], **changes)  # type: ignore[arg-type]  # fields of its bounds
    return replace(plan, topics={**plan.topics, topic: moved})


def test_plan_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Nothing of it is lost, and only its owner may read it."""
    path = tmp_path / "plan.json"
    _plan().write(path)
    assert Plan.read(path) == _plan()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (b"an operator", b"a stranger", "edited"),
        (b'"format": 1', b'"format": 9', "format is 9"),
        (b"{", b"[", "no plan"),
        (b'"digest"', b'"hash"', "no plan"),
    ],
)
def test_edited_plan_is_refused(tmp_path: Path, before: bytes, after: bytes, why: str) -> None:
    """The file says why it cannot be used."""
    path = tmp_path / "plan.json"
    _plan().write(path)
    path.write_bytes(path.read_bytes().replace(before, after, 1))
    with pytest.raises(UnreadablePlanError, match=why):
        Plan.read(path)


def test_plan_of_something_else_is_refused(tmp_path: Path) -> None:
    """By its kind or its target, and it is named as what it is."""
    path = tmp_path / "plan.json"
    _plan().write(path)
    assert Plan.read(path, kind="rebuild", target="desired-consents") == _plan()
    for other in ({"kind": "reconcile"}, {"kind": "rebuild", "target": "ledger"}):
        with pytest.raises(OtherPlanError, match="the plan of rebuild desired-consents"):
            Plan.read(path, **other)


def test_lines_beside_a_plan_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Edited or gone, they are refused; only their owner may read them."""
    path = tmp_path / "lines"
    with PrivateLines(path) as lines:
        for line in (b"one\n", b"two\n"):
            lines.add(line)
        digest = lines.complete()
    assert list(lines_of(path, digest)) == [b"one\n", b"two\n"]
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"one\ntwo \n")
    with pytest.raises(UnreadablePlanError, match="edited"):
        list(lines_of(path, digest))
    with pytest.raises(UnreadablePlanError, match="cannot be read"):
        list(lines_of(tmp_path / "gone", digest))


def test_file_that_is_not_completed_replaces_nothing(tmp_path: Path) -> None:
    """What was there stays whole."""
    path = tmp_path / "file"
    write_private(path, [b"before"])

    def parts() -> Iterator[bytes]:
        yield b"after"
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_private(path, parts())
    assert path.read_bytes() == b"before"


def test_plan_stands_while_only_inputs_grow() -> None:
    """What is appended behind the part that is read changes nothing."""
    _plan().check(_with(_plan(), "consent-events", starts={0: 3}, ends={0: 99}))


@pytest.mark.parametrize(
    ("now", "moved"),
    [
        (_with(_plan(), "desired-consents", ends={0: 5}), r"desired-consents/0 ends at 5"),
        (_with(_plan(), "consent-events", ends={0: 8}), r"consent-events/0 ends at 8, not 9"),
        (_with(_plan(), "consent-events", starts={0: 4}), r"consent-events/0 begins at 4"),
        (_with(_plan(), "consent-events", topic_id="new"), "consent-events was created again"),
        (_with(_plan(), "consent-events", ends={0: 9, 1: 0}), "2 partitions"),
        (_plan(law_version=99), "the law has version 99"),
        (_plan(closed_days=()), "IZIN_EXTRA_CLOSED_DAYS"),
        (_plan(cluster_id="another"), "the cluster is another"),
        (_plan(history={3: 11}), "shard 3 of the history ends at 11"),
    ],
)
def test_plan_is_refused_once_something_moved(now: Plan, moved: str) -> None:
    """Each thing that a plan relies on is named where it has changed."""
    with pytest.raises(PlanMovedError, match=moved):
        _plan().check(now)


def test_work_is_beside_the_plan_and_private(tmp_path: Path) -> None:
    """Its folder has names of recipients."""
    folder = work_folder(tmp_path / "plan.json")
    assert folder == work_folder(tmp_path / "plan.json")
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("selection", "is_taken"),
    [
        (Selection(), True),
        (Selection(keys=frozenset({_KEY})), True),
        (Selection(keys=frozenset({"another"})), False),
        (Selection(recipients=frozenset({"+905000000001"})), True),
        (Selection(recipients=frozenset({"+905000000002"})), False),
        (Selection(recipients=frozenset({"+905000000002"}), keys=frozenset({_KEY})), True),
        (Selection(brands=frozenset({600001}), keys=frozenset({_KEY})), True),
        (Selection(brands=frozenset({600002})), False),
    ],
)
def test_selection_narrows_by_what_is_given(selection: Selection, is_taken: bool) -> None:
    """What is not given leaves everything in."""
    assert selection.takes_key(_KEY) is is_taken


class Brokers:
    """An admin client of brokers, some of which do not answer."""

    def __init__(self) -> None:
        self.ends = {0: 10, 1: 20, 2: 30}
        self.leaders = {0: 1, 1: 2, 2: -1}
        self.silent: set[int] = set()
        """Partitions whose leader does not answer."""
        self.gone: set[int] = set()
        """Partitions whose leader is another now."""
        self.asked: list[set[int]] = []

    def list_offsets(self, places: Mapping[TopicPartition, Any], **_: object) -> Any:  # noqa: ANN401  # the client's
        """Answer for the partitions of one leader."""
        self.asked.append({one.partition for one in places})
        answers: dict[TopicPartition, Future[Any]] = {}
        for place in places:
            answers[place] = answer = Future()
            if place.partition in self.gone:
                answer.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
            elif place.partition not in self.silent:
                answer.set_result(SimpleNamespace(offset=self.ends[place.partition]))
        return answers

    def list_topics(self, topic: str, timeout: float) -> Any:  # noqa: ANN401, ARG002  # the same
        """Return the leaders of now."""
        partitions = {n: SimpleNamespace(leader=one) for n, one in self.leaders.items()}
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=partitions)})

    def poll(self, timeout: float) -> None:
        """Do nothing."""


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, to be moved on."""
    now = [100.0]
    monkeypatch.setattr(end, "monotonic", lambda: now[0])
    return now


def topic_end(brokers: Brokers) -> TopicEnd:
    return TopicEnd(
        brokers,  # type: ignore[arg-type]
        "topic",
        dict(brokers.leaders),
        IsolationLevel.READ_COMMITTED,
    )


def reached(one: TopicEnd, clock: list[float], positions: Mapping[int, int]) -> dict[int, float]:
    """Return what is reached within the next seconds, when the end was asked for."""
    found: dict[int, float] = {}
    for _ in range(30):
        clock[0] += 0.1
        for number, asked_at in one.reached(positions).items():
            found.setdefault(number, asked_at)
    return found


def test_each_leader_is_asked_alone(brokers: Brokers, clock: list[float]):
    """One that does not answer, or a partition without one, says nothing of the others."""
    brokers.silent = {1}
    found = reached(topic_end(brokers), clock, {0: 10, 1: 20, 2: 30})
    assert set(found) == {0}
    assert found[0] > 100
    assert all(len(numbers) == 1 for numbers in brokers.asked)


def test_new_leader_is_found(brokers: Brokers, clock: list[float]):
    """Of a partition that had none, and of one whose leader no longer is."""
    brokers.gone = {1}
    one = topic_end(brokers)
    assert set(reached(one, clock, {0: 10, 1: 20, 2: 30})) == {0}
    brokers.gone, brokers.leaders = set(), {0: 1, 1: 1, 2: 1}
    assert set(reached(one, clock, {0: 10, 1: 20, 2: 30})) == {0, 1, 2}
    assert brokers.asked[-1] == {0, 1, 2}


def test_end_is_reached_by_who_has_read_so_far(brokers: Brokers, clock: list[float]):
    """As it was when it was asked for, however the partition grows meanwhile."""
    one = topic_end(brokers)
    assert set(reached(one, clock, {0: 9, 1: 20, 2: 0})) == {1}
    brokers.ends[0] = 1000
    first = clock[0]
    assert reached(one, clock, {0: 10, 1: 20, 2: 0})[0] < first


AWAY = KafkaException(KafkaError(KafkaError._TRANSPORT))


@pytest.fixture
def admin() -> Mock:
    """Return a broker that answers."""
    return Mock()


@pytest.fixture
def manual_clock() -> ManualClock:
    """Return the clock of the watch."""
    return ManualClock()


@pytest.fixture
def watch(admin: Mock, manual_clock: ManualClock) -> BrokerWatch:
    """Return the watch under test."""
    watch = BrokerWatch(KafkaSettings(client_log_level=0), manual_clock)
    watch._admin = admin
    return watch


async def watched(watch: BrokerWatch, clock: ManualClock, times: int) -> list[EventDict]:
    """Ask so many times, two seconds apart; return what was logged."""
    with capture_logs() as logs:
        for _ in range(times):
            clock.now += 2
            await watch.ask()
    return logs


async def test_broker_that_answers_is_reachable(
    watch: BrokerWatch, manual_clock: ManualClock
) -> None:
    """However long it has been asked, and nothing is logged."""
    assert await watched(watch, manual_clock, 10) == []
    assert watch.is_reachable


async def test_silence_is_noticed_and_logged_once(
    watch: BrokerWatch, admin: Mock, manual_clock: ManualClock
) -> None:
    """A lost request is no outage; ten minutes are two log events, not ten thousand."""
    admin.list_topics.side_effect = AWAY
    manual_clock.now += 2
    assert await watched(watch, manual_clock, 1) == []
    assert watch.is_reachable
    (lost,) = await watched(watch, manual_clock, 300)
    assert not watch.is_reachable
    admin.list_topics.side_effect = None
    (found,) = await watched(watch, manual_clock, 2)
    assert watch.is_reachable
    assert (lost["event"], lost["log_level"]) == ("kafka unreachable", "error")
    assert (found["event"], found["log_level"]) == ("kafka reachable again", "warning")
    assert found["seconds"] == 606


async def test_cause_and_setting_of_a_refusal_are_logged(
    watch: BrokerWatch, admin: Mock, manual_clock: ManualClock
) -> None:
    """The failed request itself tells of a broken connection only; the least helpful error is the
    last that its callback reports.
    """
    codes = (KafkaError._TRANSPORT, KafkaError._AUTHENTICATION, KafkaError._ALL_BROKERS_DOWN)
    admin.list_topics.side_effect = AWAY
    admin.poll.side_effect = lambda _: watch._errors.extend(map(KafkaError, codes))
    (one,) = await watched(watch, manual_clock, 5)
    assert "KAFKA_SASL_PASSWORD" in one["error"]


async def test_cause_of_a_former_outage_is_forgotten(
    watch: BrokerWatch, admin: Mock, manual_clock: ManualClock
) -> None:
    """The next one may have another."""
    watch._errors.append(KafkaError(KafkaError._AUTHENTICATION))
    await watch.ask()
    admin.list_topics.side_effect = AWAY
    (one,) = await watched(watch, manual_clock, 5)
    assert "KAFKA_BOOTSTRAP_SERVERS" in one["error"]
