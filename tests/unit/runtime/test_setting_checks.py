"""Settings that do not go together are refused, and plain connections in production.

Settings are read once, frozen, and keep their secrets.

Every secret may be in a file, which a second variable names.
"""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsError

from izin.consent import OutsideCalendarError
from izin.runtime import settings as settings_module
from izin.runtime.errors import SettingError
from izin.runtime.logs import wrong_settings
from izin.runtime.setting_rules.group import (
    SUFFIX,
    SettingsGroup,
    secret_variables,
    without_secret_files,
)
from izin.runtime.settings import (
    ApiSettings,
    ConsoleSettings,
    FeedsSettings,
    GateSettings,
    IntakeSettings,
    IysSettings,
    KafkaSettings,
    LedgerSettings,
    LogSettings,
    OutboxSettings,
    SenderSettings,
    SinkSettings,
    StreamSettings,
    ViaSettings,
    WebhookSettings,
)
from tests.support.secret_keys import a_key
from tests.support.secure import Authority

SECRET = "obviously-fake-secret"
PASSWORD = {"KAFKA_SASL_USERNAME": "izin", "KAFKA_SASL_PASSWORD": SECRET}
OAUTH = "KAFKA_SASL_OAUTHBEARER_"
TOKEN = {
    f"{OAUTH}TOKEN_ENDPOINT_URL": "https://login.example.com/token",
    f"{OAUTH}CLIENT_ID": "izin",
    f"{OAUTH}CLIENT_SECRET": SECRET,
}
SCRAM = {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", **PASSWORD}
SASL_SSL = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", **SCRAM}
PRODUCTION = {"IZIN_PRODUCTION": "true"}
LEDGER = f"postgresql://izin:{SECRET}"
REGISTRY = {"SCHEMA_REGISTRY_URL": "https://registry.example.com"}


def made(group: type[SettingsGroup], given: Mapping[str, str]) -> SettingsGroup:
    """Return settings of ``given`` and nothing else of ours."""
    return group.model_validate(given)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize(
    "given",
    [
        {},
        SASL_SSL,
        {**SASL_SSL, "KAFKA_SASL_MECHANISM": "PLAIN"},
        {**SASL_SSL, "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"},
        {"KAFKA_SECURITY_PROTOCOL": "SSL"},
        {**SASL_SSL, "KAFKA_SECURITY_PROTOCOL": "sasl_ssl", "KAFKA_SASL_MECHANISM": "plain"},
        {
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
            f"{OAUTH}SCOPE": "kafka",
            **TOKEN,
        },
        {**REGISTRY, "SCHEMA_REGISTRY_USERNAME": "izin", "SCHEMA_REGISTRY_PASSWORD": SECRET},
    ],
    ids=lambda given: given.get("KAFKA_SECURITY_PROTOCOL", "none"),
)
def test_settings_that_go_together_are_taken(given: Mapping[str, str]) -> None:
    """Nothing is refused that can be meant."""
    assert made(KafkaSettings, given)


def test_unknown_protocol_is_refused_with_those_there_are() -> None:
    """In their own spelling, which the error of the library would lose."""
    with pytest.raises(ValidationError) as refused:
        made(KafkaSettings, {"KAFKA_SECURITY_PROTOCOL": "TLS"})
    shown = wrong_settings(refused.value)
    assert "KAFKA_SECURITY_PROTOCOL (input should be 'PLAINTEXT', 'SSL'" in shown


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (SCRAM, ("KAFKA_SASL_MECHANISM", "KAFKA_SECURITY_PROTOCOL=PLAINTEXT", "SASL_SSL")),
        (PASSWORD, ("KAFKA_SASL_PASSWORD", "unset")),
        (TOKEN, (f"{OAUTH}CLIENT_ID", "KAFKA_SECURITY_PROTOCOL")),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", **SCRAM}, ("KAFKA_SASL_MECHANISM", "SASL_SSL")),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "PLAIN"},
            ("KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"),
        ),
        ({**SASL_SSL, **TOKEN}, (f"{OAUTH}CLIENT_SECRET", "unset")),
        (
            {**SASL_SSL, "KAFKA_SASL_MECHANISM": "OAUTHBEARER"},
            (f"{OAUTH}TOKEN_ENDPOINT_URL", "KAFKA_SASL_PASSWORD is set"),
        ),
        ({"KAFKA_SSL_CA_FILE": "ca.pem"}, ("KAFKA_SSL_CA_FILE", "no TLS")),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CERTIFICATE_FILE": "a.pem"},
            ("KAFKA_SSL_CERTIFICATE_FILE is set without KAFKA_SSL_KEY_FILE",),
        ),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_KEY_FILE": "a.pem"},
            ("KAFKA_SSL_KEY_FILE is set without KAFKA_SSL_CERTIFICATE_FILE",),
        ),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_KEY_PASSWORD": SECRET},
            ("KAFKA_SSL_KEY_PASSWORD is set without KAFKA_SSL_KEY_FILE",),
        ),
        ({"SCHEMA_REGISTRY_USERNAME": "izin"}, ("SCHEMA_REGISTRY_PASSWORD", "URL")),
        ({**REGISTRY, "SCHEMA_REGISTRY_PASSWORD": SECRET}, ("SCHEMA_REGISTRY_USERNAME",)),
        ({"SCHEMA_REGISTRY_SSL_CA_FILE": "ca.pem"}, ("SCHEMA_REGISTRY_URL",)),
        (
            {
                "SCHEMA_REGISTRY_URL": "http://registry.example.com",
                "SCHEMA_REGISTRY_SSL_CA_FILE": "ca.pem",
            },
            ("SCHEMA_REGISTRY_SSL_CA_FILE", "https://"),
        ),
    ],
)
def test_contradiction_is_refused(given: Mapping[str, str], named: tuple[str, ...]) -> None:
    """The error names the variables, and no secret."""
    with pytest.raises(SettingError) as refused:
        made(KafkaSettings, given)
    for one in named:
        assert one in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("group", "name", "remedy"),
    [
        (KafkaSettings, "SCHEMA_REGISTRY_URL", "SCHEMA_REGISTRY_PASSWORD"),
        (KafkaSettings, f"{OAUTH}TOKEN_ENDPOINT_URL", f"{OAUTH}CLIENT_SECRET"),
        (KafkaSettings, "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_SASL_PASSWORD"),
        (IysSettings, "IYS_BASE_URL", "IYS_PASSWORD"),
        (SinkSettings, "IZIN_PUSH_URL", "IZIN_PUSH_PASSWORD"),
    ],
)
def test_login_in_a_url_is_refused(group: type[SettingsGroup], name: str, remedy: str) -> None:
    """Errors and `izin doctor` print it; the error itself does not."""
    given = {"IYS_USERNAME": "acme", "IYS_PASSWORD": "x"}
    for url in (f"https://izin:{SECRET}@example.com", f"izin:{SECRET}@example.com"):
        with pytest.raises(SettingError, match=f"{name} has an @") as refused:
            made(group, {**given, name: url})
        assert remedy in str(refused.value)
        assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("KAFKA_SSL_CA_FILE", {"KAFKA_SECURITY_PROTOCOL": "SSL"}),
        ("SCHEMA_REGISTRY_SSL_CA_FILE", REGISTRY),
        (
            f"{OAUTH}CA_FILE",
            {
                "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
                "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
                **TOKEN,
            },
        ),
    ],
)
def test_unusable_authority_is_refused(
    name: str, others: Mapping[str, str], tmp_path: Path
) -> None:
    """A file that is not there, and one with something else in it."""
    path = tmp_path / "ca.pem"
    with pytest.raises(SettingError, match=f"{name}={path} cannot be read"):
        made(KafkaSettings, {**others, name: str(path)})
    path.write_text("nothing", encoding="ascii")
    with pytest.raises(SettingError, match=f"{name}={path} has no certificate"):
        made(KafkaSettings, {**others, name: str(path)})


def test_unusable_client_certificate_is_refused(ours: Authority, tmp_path: Path) -> None:
    """Its files, its key, and the password of its key."""
    client, other = ours.issue("client", password=SECRET), ours.issue("other")
    given = {
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CA_FILE": str(ours.file),
        "KAFKA_SSL_CERTIFICATE_FILE": str(client.certificate),
        "KAFKA_SSL_KEY_FILE": str(client.key),
        "KAFKA_SSL_KEY_PASSWORD": SECRET,
    }
    assert made(KafkaSettings, given)
    wrong = (
        {"KAFKA_SSL_KEY_PASSWORD": "another"},
        {"KAFKA_SSL_KEY_FILE": str(other.key)},
        {"KAFKA_SSL_CERTIFICATE_FILE": str(other.certificate)},
    )
    for one in wrong:
        with pytest.raises(SettingError, match="KAFKA_SSL_KEY_FILE cannot be used") as refused:
            made(KafkaSettings, {**given, **one})
        assert SECRET not in str(refused.value)
    without = {name: value for name, value in given.items() if name != "KAFKA_SSL_KEY_PASSWORD"}
    with pytest.raises(SettingError, match="its KAFKA_SSL_KEY_PASSWORD"):
        made(KafkaSettings, without)
    nowhere = {"KAFKA_SSL_KEY_FILE": str(tmp_path / "nowhere")}
    with pytest.raises(SettingError, match=r"KAFKA_SSL_KEY_FILE=.* cannot be read"):
        made(KafkaSettings, {**given, **nowhere})


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_production_refuses_kafka_without_tls(protocol: str) -> None:
    """Also with a password, which would be read on the way."""
    given = {"KAFKA_SECURITY_PROTOCOL": protocol} | ({} if protocol == "PLAINTEXT" else SCRAM)
    assert made(KafkaSettings, given)
    with pytest.raises(SettingError, match=f"refuses KAFKA_SECURITY_PROTOCOL={protocol}"):
        made(KafkaSettings, {**given, **PRODUCTION})
    assert made(KafkaSettings, {**SASL_SSL, **PRODUCTION})
    assert made(KafkaSettings, {"KAFKA_SECURITY_PROTOCOL": "SSL", **PRODUCTION})


def test_production_refuses_urls_on_http() -> None:
    """Of the registry, of tokens, of İYS and of its pushes."""
    iys = {"IYS_USERNAME": "acme", "IYS_PASSWORD": "x"}
    token = {**SASL_SSL, "KAFKA_SASL_MECHANISM": "OAUTHBEARER", **TOKEN}
    token = {name: value for name, value in token.items() if name not in PASSWORD}
    for group, given, name in (
        (KafkaSettings, SASL_SSL, "SCHEMA_REGISTRY_URL"),
        (KafkaSettings, token, f"{OAUTH}TOKEN_ENDPOINT_URL"),
        (IysSettings, iys, "IYS_BASE_URL"),
        (SinkSettings, {}, "IZIN_PUSH_URL"),
    ):
        plain = {**given, name: "http://example.com"}
        assert made(group, plain)
        with pytest.raises(SettingError, match=f"refuses {name}"):
            made(group, {**plain, **PRODUCTION})
        assert made(group, {**plain, **PRODUCTION, name: "HTTPS://example.com"})
    some = {"SCHEMA_REGISTRY_URL": "https://a.example.com,http://b.example.com"}
    with pytest.raises(SettingError, match="refuses SCHEMA_REGISTRY_URL"):
        made(KafkaSettings, {**SASL_SSL, **PRODUCTION, **some})


@pytest.mark.parametrize(
    "url",
    [
        f"{LEDGER}@db.example.com/izin",
        f"{LEDGER}@db.example.com/izin?sslmode=require",
        f"{LEDGER}@db.example.com/izin?sslmode=prefer&sslrootcert=ca.pem",
        f"{LEDGER}@127.0.0.1/izin",
        "postgresql:///izin",
        f"{LEDGER}@/izin?host=/run/postgresql,db.example.com",
        f"{LEDGER}@/izin?host=/run/postgresql&hostaddr=192.0.2.1",
        f"{LEDGER}@/izin?host=/run/postgresql&service=elsewhere",
    ],
)
def test_production_refuses_a_database_without_tls(url: str) -> None:
    """A mode that verifies nothing accepts a stranger's server; the URL is not printed."""
    assert made(LedgerSettings, {"DATABASE_URL": url})
    with pytest.raises(SettingError, match="refuses DATABASE_URL without sslmode=") as refused:
        made(LedgerSettings, {"DATABASE_URL": url, **PRODUCTION})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        f"{LEDGER}@db.example.com/izin?sslmode=verify-full&sslrootcert=ca.pem",
        f"{LEDGER}@db.example.com/izin?sslmode=verify-ca",
        f"{LEDGER}@/izin?host=/run/postgresql",
        f"{LEDGER}@%2Frun%2Fpostgresql/izin",
    ],
)
def test_production_takes_verified_tls_and_sockets(url: str) -> None:
    """A Unix socket leaves no machine."""
    assert made(LedgerSettings, {"DATABASE_URL": url, **PRODUCTION})


def test_production_knows_variables_of_libpq(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the URL leaves out libpq takes from them: they may add TLS, or name a host."""
    socket = {"DATABASE_URL": "postgresql:///izin?host=/run/postgresql", **PRODUCTION}
    named = {"DATABASE_URL": "postgresql://db.example.com/izin", **PRODUCTION}
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert made(LedgerSettings, named)
    monkeypatch.delenv("PGSSLMODE")
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    with pytest.raises(SettingError, match="refuses DATABASE_URL"):
        made(LedgerSettings, socket)


def test_production_leaves_what_is_no_url_to_its_user() -> None:
    """Whoever connects says so, with the right form."""
    assert made(LedgerSettings, {"DATABASE_URL": "nonsense", **PRODUCTION})


GROUPS = (
    FeedsSettings,
    ApiSettings,
    ConsoleSettings,
    GateSettings,
    IntakeSettings,
    IysSettings,
    KafkaSettings,
    LedgerSettings,
    LogSettings,
    OutboxSettings,
    SenderSettings,
    SinkSettings,
    StreamSettings,
    ViaSettings,
    WebhookSettings,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables without a default in the environment."""
    for name in ("DATABASE_URL", "IZIN_OUTBOX_DATABASE_URL"):
        monkeypatch.setenv(name, f"postgresql://izin:{SECRET}@127.0.0.1/izin")
    monkeypatch.setenv("IYS_USERNAME", "acme")
    monkeypatch.setenv("IZIN_CONSOLE_OIDC_ISSUER", "https://login.example.com")
    monkeypatch.setenv("IZIN_CONSOLE_OIDC_CLIENT_ID", "izin")
    for name in (
        *("IYS_PASSWORD", "IZIN_PUSH_PASSWORD", "IZIN_API_KEY"),
        "IZIN_CONSOLE_OIDC_CLIENT_SECRET",
    ):
        monkeypatch.setenv(name, SECRET)


def test_every_group_is_tested() -> None:
    """A group that is added later is examined too."""
    found = {
        one
        for one in vars(settings_module).values()
        if isinstance(one, type) and issubclass(one, SettingsGroup)
    } - {SettingsGroup}
    assert found == set(GROUPS)


@pytest.mark.parametrize("group", GROUPS)
def test_settings_are_frozen(group: type[BaseSettings]) -> None:
    """Settings do not change while a process runs."""
    given = group()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(given, next(iter(group.model_fields)), "another")


@pytest.mark.parametrize("group", GROUPS)
def test_secrets_are_in_no_text(group: type[BaseSettings]) -> None:
    """Neither repr nor str nor a dump shows a password."""
    given = group()
    for text in (repr(given), str(given), repr(given.model_dump()), given.model_dump_json()):
        assert SECRET not in text


@pytest.mark.parametrize("group", GROUPS)
def test_no_secret_has_a_default(group: type[BaseSettings]) -> None:
    """A default password would be public."""
    for name, field in group.model_fields.items():
        if "Secret" in str(field.annotation):
            assert not field.default or field.is_required(), name


@pytest.mark.parametrize("group", GROUPS)
def test_wrong_value_is_not_quoted(
    group: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret in the wrong variable stays out of the error, and of the log that has it."""
    for field in group.model_fields.values():
        monkeypatch.setenv(str(field.validation_alias), SECRET)
    with pytest.raises((ValidationError, SettingsError, SettingError)) as refused:
        group()
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("group", GROUPS)
def test_variables_have_our_prefix_or_a_customary_name(group: type[BaseSettings]) -> None:
    """A variable begins with IZIN_ or IYS_, or has a customary name."""
    ours = ("IZIN_", "IYS_", "KAFKA_", "SCHEMA_REGISTRY_")
    for field in group.model_fields.values():
        name = str(field.validation_alias)
        assert name == "DATABASE_URL" or name.startswith(ours), name


def test_values_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each from its variable, with its type."""
    for name, value in {
        "KAFKA_BOOTSTRAP_SERVERS": "kafka.example.com:9092",
        "IZIN_TOPIC_PREFIX": "demo-",
        "IZIN_PARTITIONS": "12",
        "IYS_RESULT_DELAY": "PT2S",
    }.items():
        monkeypatch.setenv(name, value)
    kafka = KafkaSettings()
    assert kafka.bootstrap_servers == "kafka.example.com:9092"
    assert (kafka.partitions, kafka.topics.events.name) == (12, "demo-consent-events")
    assert IysSettings().result_delay == timedelta(seconds=2)


@pytest.mark.parametrize(
    ("group", "variable", "given", "said"),
    [
        *((KafkaSettings, "IZIN_PARTITIONS", count, "") for count in ("0", "-1", "many")),
        (LedgerSettings, "IZIN_EXTRA_CLOSED_DAYS", '["2026-05-32"]', ""),
        (StreamSettings, "IZIN_SUPPRESSION_SECRETS", "x", "write a JSON list"),
        (StreamSettings, "IZIN_SUPPRESSION_SECRETS", '["short"]', "needs 32 characters"),
        (LedgerSettings, "IZIN_SECRET_KEYS", a_key(1), "write a JSON list"),
        *(
            (LedgerSettings, "IZIN_SECRET_KEYS", json.dumps(keys), "openssl rand -base64 32")
            for keys in (["short"], [a_key(1)[:-4]], [a_key(1), "ş" * 44], [a_key(1)] * 2)
        ),
        (LedgerSettings, "DATABASE_URL", None, ""),
    ],
)
def test_wrong_or_missing_value_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch,
    group: type[BaseSettings],
    variable: str,
    given: str | None,
    said: str,
) -> None:
    """It stops the start, not the thousandth record, and quotes no secret. A short secret of
    suppressions could be guessed, and with it who was erased.
    """
    if given is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, given)
    with pytest.raises(ValidationError, match=f"(?s){variable}.*{said}") as refused:
        group()
    assert a_key(1) not in f"{refused.value}{refused.value!r}"


def test_closed_day_of_a_mistyped_year_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calendar does not reach so far."""
    monkeypatch.setenv("IZIN_EXTRA_CLOSED_DAYS", '["2206-05-25"]')
    with pytest.raises(OutsideCalendarError, match="2206"):
        _ = LedgerSettings().calendar


def test_closed_days_reach_the_calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed days reach the calendar; none are closed by default."""
    assert not LedgerSettings().calendar.extra_closed_days
    monkeypatch.setenv("IZIN_EXTRA_CLOSED_DAYS", '["2026-05-25", "2026-05-26"]')
    days = {date(2026, 5, 25), date(2026, 5, 26)}
    assert LedgerSettings().calendar.extra_closed_days == days


SECRETS = [(group, name) for group in GROUPS for name in secret_variables(group)]
ANY_SECRET = "postgresql://izin:obviously-fake@127.0.0.1/izin"
"""A text that any secret may be."""
EVERY_SECRET = pytest.mark.parametrize(
    ("group", "name"), SECRETS, ids=[name for _, name in SECRETS]
)


@pytest.fixture
def no_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a secret of Kafka be given without what it needs beside it."""
    monkeypatch.setattr(KafkaSettings, "faults", lambda _: iter(()))


def file_of(folder: Path, text: str) -> Path:
    """Return a file with ``text``."""
    path = folder / "secret"
    path.write_text(text, encoding="utf-8")
    return path


def value_of(group: type[SettingsGroup], name: str) -> object:
    """Return the plain value of a secret of the group, as its settings have it."""
    match group().given[name]:
        case SecretStr() as secret:
            return secret.get_secret_value()
        case several:
            return [one.get_secret_value() for one in several]


def test_every_secret_is_known() -> None:
    """By its type; those that need one today are among them."""
    known = {name for _, name in SECRETS}
    assert known >= {
        "DATABASE_URL",
        "IYS_PASSWORD",
        "KAFKA_SASL_PASSWORD",
        "IZIN_SUPPRESSION_SECRETS",
        "IZIN_SECRET_KEYS",
    }
    assert known >= {"KAFKA_SSL_KEY_PASSWORD", "SCHEMA_REGISTRY_PASSWORD", "IZIN_PUSH_PASSWORD"}


@EVERY_SECRET
@pytest.mark.usefixtures("no_faults")
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_secret_is_read_from_its_file(
    group: type[SettingsGroup],
    name: str,
    end: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Without the line break that editors add, and with every other character."""
    listed = {
        "IZIN_SUPPRESSION_SECRETS": [ANY_SECRET],
        "IZIN_LINK_SECRETS": [ANY_SECRET],
        "IZIN_SECRET_KEYS": [a_key(1)],
    }
    text = json.dumps(listed[name]) if name in listed else f" {ANY_SECRET} "
    monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"{name}{SUFFIX}", str(file_of(tmp_path, f"{text}{end}")))
    assert value_of(group, name) == listed.get(name, text)


@EVERY_SECRET
def test_secret_given_twice_is_refused(
    group: type[SettingsGroup], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody could say which of them holds."""
    monkeypatch.setenv(name, ANY_SECRET)
    monkeypatch.setenv(f"{name}{SUFFIX}", str(file_of(tmp_path, "another")))
    with pytest.raises(SettingError, match=f"{name} and {name}_FILE are both set") as refused:
        group()
    assert ANY_SECRET not in str(refused.value)


@EVERY_SECRET
def test_secret_in_an_unreadable_file_is_refused(
    group: type[SettingsGroup], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error names the variable and the file."""
    monkeypatch.delenv(name, raising=False)
    path = tmp_path / "nowhere"
    monkeypatch.setenv(f"{name}{SUFFIX}", str(path))
    with pytest.raises(SettingError, match=f"{name}_FILE={path} cannot be read"):
        group()


@pytest.fixture(params=[b"", b"\n", b"\xff\xfesecret"])
def unusable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a file in which there is no secret."""
    path = tmp_path / "secret"
    path.write_bytes(request.param)
    return path


def test_file_without_a_text_is_refused(unusable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty password would be tried, and other bytes quoted."""
    monkeypatch.delenv("IYS_PASSWORD")
    monkeypatch.setenv("IYS_PASSWORD_FILE", str(unusable))
    with pytest.raises(SettingError, match=f"IYS_PASSWORD_FILE={unusable} is") as refused:
        IysSettings()
    assert "secret there" in str(refused.value)
    assert refused.value.__cause__ is None


def test_empty_variable_beside_a_file_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Compose sets variables that are left out to nothing."""
    monkeypatch.setenv("IYS_PASSWORD", "")
    monkeypatch.setenv("IYS_PASSWORD_FILE", str(file_of(tmp_path, ANY_SECRET)))
    assert value_of(IysSettings, "IYS_PASSWORD") == ANY_SECRET


def test_argument_outranks_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """What code gives is not looked for."""
    monkeypatch.setenv("DATABASE_URL_FILE", "/nowhere")
    made = LedgerSettings.model_validate({"DATABASE_URL": ANY_SECRET})
    assert made.database_url.get_secret_value() == ANY_SECRET


def test_other_settings_have_no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file of a plain setting would hide what it is."""
    monkeypatch.setenv("IYS_EGRESS_ADDRESS_FILE", str(file_of(tmp_path, "another")))
    assert IysSettings().egress_address == "default"


def test_local_stack_passes_values_on(tmp_path: Path) -> None:
    """A stack sets values of its own, beside which a file would be a second one."""
    path = str(file_of(tmp_path, ANY_SECRET))
    given = {"DATABASE_URL_FILE": path, "KAFKA_SSL_CA_FILE": "ca.pem", "HOME": "/"}
    assert without_secret_files(given) == {
        "DATABASE_URL": ANY_SECRET,
        "KAFKA_SSL_CA_FILE": "ca.pem",
        "HOME": "/",
    }
