"""Producers and workers of different releases, side by side, whichever framing names the schema."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest

from izin.runtime.kafka import codec
from izin.runtime.settings import KafkaSettings
from izin.schemas import contracts
from izin.schemas.codec import Codec
from izin.schemas.contracts import Contract, UnusableSchemaError
from izin.schemas.records import event_to_avro
from tests.support.builders import an_event
from tests.support.order.harness import CODEC, HOME, TOPICS, OrderHarness, fetched
from tests.support.registry import MemoryRegistry

OURS = contracts.current()["ConsentEvent"]
EVENT = an_event(status="RET", notice_version="2026-01")


def release(which: str) -> tuple[Contract, dict[str, object]]:
    """Return the event contract of an older or a newer release, and the event as it writes it."""
    schema, event = copy.deepcopy(OURS.schema), event_to_avro(EVENT)
    if which == "older":
        schema["fields"] = [one for one in schema["fields"] if one["name"] != "notice_version"]
        del event["notice_version"]
    else:
        field = {"name": "tomorrow", "type": ["null", "string"], "default": None}
        schema["fields"].insert(4, field)
        event["tomorrow"] = "a text"
    return contracts.contract("ConsentEvent", schema), event


def produced(
    which: str, monkeypatch: pytest.MonkeyPatch, ids: MemoryRegistry | None
) -> tuple[bytes, Contract]:
    """Return the event as a producer of another release writes it."""
    contract, event = release(which)
    with monkeypatch.context() as there:
        ours = contracts.current()
        there.setattr(contracts, "current", lambda: {**ours, "ConsentEvent": contract})
        return Codec(ids).encode("ConsentEvent", event), contract


def test_worker_reads_newer_schemas_from_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a registry a producer may be newer, where its schema was handed on."""
    value, contract = produced("newer", monkeypatch, None)
    name = f"ConsentEvent.{contract.fingerprint[::-1].hex()}.avsc"
    (tmp_path / name).write_text(json.dumps(contract.schema), encoding="utf-8")
    (tmp_path / "README.md").write_text("no schema", encoding="utf-8")
    writes = decided(value, codec(KafkaSettings(registry_url=None, schema_folder=tmp_path)))
    assert TOPICS.opt_outs.name in {topic for topic, _ in writes}


@pytest.mark.parametrize(
    ("content", "found"),
    [("{", "is no schema"), ('{"type": "record"}', "is no schema"), (None, "cannot be read")],
)
def test_unusable_schema_folder_raises(tmp_path: Path, content: str | None, found: str) -> None:
    """A worker does not start without what it is configured to read."""
    folder = tmp_path / "schemas"
    if content is not None:
        folder.mkdir()
        (folder / "ConsentEvent.1.avsc").write_text(content, encoding="utf-8")
    with pytest.raises(UnusableSchemaError, match=found):
        codec(KafkaSettings(registry_url=None, schema_folder=folder))


def decided(value: bytes, reader: Codec) -> list[tuple[str, dict[str, object]]]:
    """Return what a worker with `reader` writes of the record, by topic."""
    effects = OrderHarness(codec=reader).fold([fetched(value=value, partition=HOME)])
    names = {topic.name: topic.record for topic in TOPICS}
    return [(one.topic, reader.decode(names[one.topic], one.value)) for one in effects.writes]


@pytest.mark.parametrize("which", ["older", "newer"])
@pytest.mark.parametrize("framing", ["registry", "fingerprint"])
def test_opt_out_of_another_release_takes_effect(
    monkeypatch: pytest.MonkeyPatch, which: str, framing: str
) -> None:
    """Resolved into what this release knows: a row, an opt-out and a decision that all can read."""
    ids = MemoryRegistry() if framing == "registry" else None
    value, contract = produced(which, monkeypatch, ids)
    if ids is None:
        known = {**contracts.known(), contract.fingerprint: contract}
        monkeypatch.setattr(contracts, "known", lambda: known)
    writes = decided(value, Codec(ids))
    assert [topic for topic, _ in writes] == [
        TOPICS.desired_consents.name,
        TOPICS.opt_outs.name,
        TOPICS.decisions.name,
    ]
    expected = EVENT if which == "newer" else replace(EVENT, notice_version=None)
    found = writes[-1][1]["event"]
    assert isinstance(found, dict)
    assert found["notice_version"] == expected.notice_version
    assert (found["event_id"], found["status"]) == (expected.event_id, "RET")


def test_unknown_schema_is_dead_lettered_as_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The record is stored whole, under a reason that its producer can act on."""
    value, _ = produced("newer", monkeypatch, None)
    ((topic, letter),) = decided(value, CODEC)
    assert topic == TOPICS.dead_letters.name
    assert (letter["reason"], letter["value"]) == ("unknown-schema", value)
