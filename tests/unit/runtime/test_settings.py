"""Settings are read once, frozen, and keep their secrets."""

from datetime import date, timedelta

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from izin.consent import OutsideCalendarError
from izin.runtime import settings as settings_module
from izin.runtime.errors import SettingError
from izin.runtime.setting_rules.group import SUFFIX, SettingsGroup
from izin.runtime.settings import (
    FeedsSettings,
    GateSettings,
    IntakeSettings,
    IysSettings,
    KafkaSettings,
    LedgerSettings,
    LogSettings,
    SenderSettings,
    SinkSettings,
    StreamSettings,
    WebhookSettings,
)

SECRET = "obviously-fake-secret"
GROUPS = (
    FeedsSettings,
    GateSettings,
    IntakeSettings,
    IysSettings,
    KafkaSettings,
    LedgerSettings,
    LogSettings,
    SenderSettings,
    SinkSettings,
    StreamSettings,
    WebhookSettings,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables without a default in the environment, and no other of ours."""
    for group in GROUPS:
        for field in group.model_fields.values():
            for suffix in ("", SUFFIX):
                monkeypatch.delenv(f"{field.validation_alias}{suffix}", raising=False)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://izin:{SECRET}@127.0.0.1/izin")
    monkeypatch.setenv("IYS_USERNAME", "acme")
    monkeypatch.setenv("IYS_PASSWORD", SECRET)
    monkeypatch.setenv("IZIN_PUSH_PASSWORD", SECRET)
    monkeypatch.setenv("IZIN_API_KEY", SECRET)


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
    name = next(iter(group.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(given, name, "another")


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
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example.com:9092")
    monkeypatch.setenv("IZIN_TOPIC_PREFIX", "demo-")
    monkeypatch.setenv("IZIN_PARTITIONS", "12")
    monkeypatch.setenv("IYS_RESULT_DELAY", "PT2S")
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
    """It stops the start, not the thousandth record. A short secret of suppressions could be
    guessed, and with it who was erased.
    """
    if given is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, given)
    with pytest.raises(ValidationError, match=f"(?s){variable}.*{said}"):
        group()


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
