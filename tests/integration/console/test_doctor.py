"""The doctor against real servers: it sees what is missing or wrong, and mends what it may."""

import json
from collections.abc import Mapping

import psycopg
import pytest

from izin.runtime.settings import KafkaSettings
from tests.integration.console.conftest import Izin
from tests.topic_settings import set_of_topic

pytestmark = [pytest.mark.broker, pytest.mark.database]


def checked(izin: Izin, *options: str) -> tuple[int, list[Mapping[str, str]]]:
    """Return the exit code and the findings."""
    shown = izin("doctor", "--output", "json", *options)
    return shown.exit_code, json.loads(shown.stdout)


def states(findings: list[Mapping[str, str]]) -> set[tuple[str, str]]:
    """Return each check with its state."""
    return {(one["check"], one["state"]) for one in findings}


def test_an_empty_installation_is_mended_once(
    izin: Izin, broker: KafkaSettings, ledger: str
) -> None:
    """What is missing is named with its cure; --fix makes it; afterwards all is well."""
    code, findings = checked(izin)
    assert code == 1
    assert {("topics", "wrong"), ("migrations", "wrong"), ("broker", "ok")} <= states(findings)
    assert any("izin doctor --fix" in one["what"] for one in findings)
    code, findings = checked(izin, "--fix")
    assert code == 0
    assert {("topics", "fixed"), ("migrations", "fixed"), ("topics", "ok")} <= states(findings)
    code, findings = checked(izin)
    assert code == 0
    assert {state for _, state in states(findings)} <= {"ok", "skipped"}


def test_a_topic_with_a_wrong_setting_is_found_and_mended(
    izin: Izin, topics: KafkaSettings, ledger: str
) -> None:
    """A state topic that deletes by time would lose consents: it is named, and set right."""
    name = topics.topics.consents.name
    set_of_topic(topics, name, "cleanup.policy", "delete")
    code, findings = checked(izin)
    assert code == 1
    told = [one["what"] for one in findings if one["check"] == "topics"]
    assert any(name in one and "cleanup.policy" in one for one in told)
    _, findings = checked(izin, "--fix")
    assert ("topics", "fixed") in states(findings)
    assert ("topics", "ok") in states(checked(izin)[1])


def test_a_partition_count_is_never_mended(
    izin: Izin, topics: KafkaSettings, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another P is wrong, with or without --fix: it is fixed for life."""
    monkeypatch.setenv("IZIN_PARTITIONS", "5")
    for options in ((), ("--fix",)):
        code, findings = checked(izin, *options)
        assert code == 1
        assert any(one["check"] == "topics" and "5" in one["what"] for one in findings)


def test_deadlines_are_looked_at_once_there_is_a_ledger(
    izin: Izin, broker: KafkaSettings, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without tables there is nothing to look at; with empty ones, nothing is late."""
    monkeypatch.setenv("IYS_USERNAME", "ada")
    monkeypatch.setenv("IYS_PASSWORD", "obviously-fake")
    monkeypatch.setenv("IYS_BASE_URL", "http://127.0.0.1:9")
    assert ("deadlines", "skipped") in states(checked(izin)[1])
    _, findings = checked(izin, "--fix")
    (told,) = (one for one in findings if one["check"] == "deadlines")
    assert told["state"] == "ok"
    assert told["what"] == "0 records to tell, all in time at 5000 a second"
    (told,) = (one for one in findings if one["check"] == "sequences")
    assert (told["state"], told["what"]) == ("ok", "no origin that numbers its events misses one")


def test_numbers_are_listed_and_closed(izin: Izin, broker: KafkaSettings, ledger: str) -> None:
    """Nothing missing is listed as nothing, and cannot be closed."""
    izin("doctor", "--fix")
    shown = izin("sequences", "list", "--output", "json")
    assert (shown.exit_code, json.loads(shown.stdout)) == (0, [])
    named = ("--customer", "acme", "--origin", "crm", "--until", "5")
    assert izin("sequences", "close", *named).exit_code == 3
    with psycopg.connect(ledger) as connection:
        connection.execute("INSERT INTO sequences VALUES ('acme', 'crm', 1, 9)")
        connection.execute("INSERT INTO sequence_gaps VALUES ('acme', 'crm', 4, 6, now())")
    assert "2 numbers" in izin("sequences", "close", *named).stderr
    assert izin("sequences", "close", *named, "--yes").exit_code == 0
    assert izin("sequences", "close", *named).exit_code == 3
