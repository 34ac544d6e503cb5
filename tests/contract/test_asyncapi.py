"""The AsyncAPI document is right: each topic is for somebody or internal, and examples are records.

AsyncAPI's own parser accepts it, where `make asyncapi` has installed that.
"""

import io
import json
import re
import shutil
import subprocess
from base64 import b64decode
from datetime import UTC, datetime
from typing import Any

import fastavro
import jsonschema_rs
import pytest

from izin.schemas.codec import Codec
from izin.schemas.records import headers
from izin.schemas.topics import Topics
from tests.support.project_rules import ROOT
from tools.generate_asyncapi import INTERNAL, PATH, Audience, audience_of
from tools.golden_records import golden

TEXT = (ROOT / PATH).read_text(encoding="utf-8")
DOCUMENT = json.loads(TEXT)
MESSAGES = DOCUMENT["components"]["messages"]
RECORDS = [name for name, found in MESSAGES.items() if "schema" in found["payload"]]
INSTALLED = ROOT / ".venv" / "asyncapi"
PROGRAM = """
import { readFileSync } from 'node:fs'
import { Parser } from '@asyncapi/parser'
const { document, diagnostics } = await new Parser().parse(readFileSync(0, 'utf8'))
const faults = diagnostics.filter(each => each.severity < 2)
for (const fault of faults) console.log(fault.code, fault.path.join('/'))
console.log(document ? document.allOperations().length : 'no document')
"""
"""Prints errors and warnings, then how many operations there are."""


def test_every_topic_is_for_somebody_or_internal():
    """A new one is decided on: the document has what is offered, and nothing else."""
    audiences = {topic.name: audience_of(topic.name) for topic in Topics()}
    offered = {name for name, found in audiences.items() if found is not Audience.INTERNAL}
    assert (offered, INTERNAL) == (set(DOCUMENT["channels"]), audiences.keys() - offered)
    for channel in DOCUMENT["channels"].values():
        (tag,) = channel["tags"]
        assert tag["name"] == audiences[channel["address"]]
    with pytest.raises(KeyError):
        audience_of("a-new-topic")


def test_only_publishers_topics_are_received():
    """From where izin stands: what others publish it receives, and sends all else."""
    received = {
        operation["channel"]["$ref"].rpartition("/")[2]
        for operation in DOCUMENT["operations"].values()
        if operation["action"] == "receive"
    }
    assert received == {"consent-events", "consent-events-express"}
    assert len(DOCUMENT["operations"]) == len(DOCUMENT["channels"])


@pytest.mark.parametrize("record", RECORDS)
def test_example_is_decoded_by_the_codec(record: str):
    """Its bytes are the golden record, and its JSON is what a reader of Avro has of them, by the
    schema in the document alone.
    """
    message = MESSAGES[record]
    (encoded,) = map(b64decode, message["x-values-base64"])
    assert Codec().decode(record, encoded) == golden(record)
    header = bytes.fromhex(message["x-single-object-header"])
    assert encoded.startswith(header)
    as_numbers = json.dumps(message["payload"]["schema"]).replace('"logicalType"', '"instant"')
    value = fastavro.schemaless_reader(
        io.BytesIO(encoded[len(header) :]), json.loads(as_numbers), None
    )
    (example,) = message["examples"]
    assert (
        json.loads(json.dumps(value, default=lambda some: some.decode("latin-1")))
        == (example["payload"])
    )


def accepts(schema: dict[str, Any], value: object) -> bool:
    return jsonschema_rs.validator_for(schema).is_valid(value)


@pytest.mark.parametrize("name", MESSAGES)
def test_headers_and_key_are_as_described(name: str):
    """Those of the example, and those that records get; a missing one is refused."""
    message = MESSAGES[name]
    record = message["headers"]["properties"]["ce_type"]["const"].removeprefix("izin.")
    made = headers(record=record, event_id="1", source="/crm", at=datetime.now(UTC))
    as_text = {key: value.decode() for key, value in made if isinstance(value, bytes)}
    for found in (as_text, message["examples"][0]["headers"]):
        assert accepts(message["headers"], found)
        assert not accepts(message["headers"], {**found, "ce_type": "izin.Another"})
        assert not accepts(message["headers"], {key: found[key] for key in [*found][1:]})
    key, value = message["bindings"]["kafka"]["key"], golden(record)
    if re.search("canonical", key["description"]) and "brand_code" in value:
        parts = ("brand_code", "type", "recipient_type", "recipient")
        assert accepts(key, "/".join(str(value[part]) for part in parts))
    if name in {"Permission", "PermissionErased", "Consent", "Outcome", "Decision", "Brand"}:
        assert not accepts(key, "acme")


@pytest.mark.skipif(
    shutil.which("node") is None or not (INSTALLED / "node_modules").exists(),
    reason="make asyncapi has not installed the parser",
)
@pytest.mark.parametrize(
    ("old", "new", "printed"),
    [
        ("", "", f"{len(DOCUMENT['operations'])}\n"),
        ('"action": "receive"', '"action": "take"', "asyncapi-document-resolved"),
        ("messages/Outcome", "messages/Nothing", "invalid-ref"),
    ],
    ids=["as it is", "an unknown action", "a missing message"],
)
def test_document_is_read_by_asyncapi_parser(old: str, new: str, printed: str):
    """Without an error or a warning; the check can fail."""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", PROGRAM],
        cwd=INSTALLED,
        input=TEXT.replace(old, new, 1),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(printed)
