"""AsyncAPI 3.0 of the topics that other systems write and read.

Topics, schemas and headers are those of the code, and each example is the golden record of its
contract: as JSON, and as the bytes that a record without a schema registry has.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from izin.consent import Channel, RecipientType
from izin.runtime.settings import KafkaSettings
from izin.schemas import contracts
from izin.schemas.codec import Codec
from izin.schemas.records import CONTENT_TYPE, ID, SOURCE, TIME, TYPE, VERSION, attributes
from izin.schemas.topics import DEFAULT_PARTITIONS, Topic, Topics
from tools.golden_records import golden
from tools.json_schema import Schema, described

PATH = "docs/asyncapi.json"
"""Where the document is, and nothing else of it."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AT = datetime(2026, 3, 2, 9, 5, tzinfo=UTC)
"""When the record of an example was written."""
_AVRO = "application/vnd.apache.avro+json;version=1.9.0"
_BINDING = {"bindingVersion": "0.5.0"}

_ABOUT = """\
The Kafka topics of izin that other systems write (tag `publish`: izin receives) and read (tags
`subscribe`, `operate` and `verify`: izin sends). All other topics are internal: they change
without notice, and an ONAY in `desired-consents` is no permission to send. Names are those of an
installation without `IZIN_TOPIC_PREFIX`, partitions those without `IZIN_PARTITIONS`.

Values are Avro: in single-object encoding without a schema registry, which
`x-single-object-header` begins, and in Confluent's framing with one, under the subject of the
record's name. A topic may hold both: look at the first bytes of each value. Schemas change so that
old readers read new records and new readers old ones. Transactions write most records, so read with
`isolation.level=read_committed`. `x-values-base64` has the values of the examples in single-object
encoding, byte by byte.

Pages: publishing.md, subscribing.md, topics.md, security.md.
"""


class Audience(StrEnum):
    """What others do with a topic."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    OPERATE = "operate"
    VERIFY = "verify"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Offer:
    """A topic as others meet it: for whom it is, what it is for, and what its keys are."""

    audience: Audience
    summary: str
    key: Schema


_KEY_TEXT = "The canonical key: brand_code/type/recipient_type/recipient. Personal data."
_KEY = described(
    {
        "type": "string",
        "pattern": f"^[0-9]+/({'|'.join(Channel)})/({'|'.join(RecipientType)})/.+$",
    },
    _KEY_TEXT,
)
_OPEN_KEY = described(
    {"type": "string"},
    f"{_KEY_TEXT} A record under any other key is written again under this one.",
)

_OFFERS: Mapping[str, Offer] = {
    "consent-events-express": Offer(
        Audience.PUBLISH, "Opt-outs (RET): they overtake what waits in consent-events.", _OPEN_KEY
    ),
    "consent-events": Offer(
        Audience.PUBLISH, "Opt-ins (ONAY). An opt-out counts here too, behind them.", _OPEN_KEY
    ),
    "consent-opt-outs": Offer(
        Audience.SUBSCRIBE,
        "A key was opted out (RET), as soon as that is decided: stop sending to it at once.",
        _KEY,
    ),
    "permissions": Offer(
        Audience.SUBSCRIBE,
        "Whether a commercial message may be sent to a key, and why: the latest record of each. "
        "Read consent-opt-outs too, which is ahead of it.",
        _KEY,
    ),
    "consent-outcomes": Offer(
        Audience.SUBSCRIBE, "What became at İYS of an event that was published.", _KEY
    ),
    "consent-decisions": Offer(
        Audience.SUBSCRIBE, "What the law decided of each event, and why.", _KEY
    ),
    "brands": Offer(
        Audience.SUBSCRIBE,
        "Each brand with the customer_id that its events carry: the latest record of each.",
        described({"type": "string", "pattern": "^[0-9]+$"}, "The brand_code."),
    ),
    "consent-events-dlq": Offer(
        Audience.OPERATE,
        "Records that could not become decisions, of all customers, with their original bytes.",
        described({"type": "string"}, "The key that the record had, or a digest of its value."),
    ),
    "ledger-anchors": Offer(
        Audience.VERIFY,
        "Links of the ledger's history: keep them elsewhere, and it cannot be changed unnoticed.",
        described({"type": "string", "pattern": "^[0-9]+$"}, "The number of the chain."),
    ),
}
"""The topics that others may use, in the order of the document."""

INTERNAL = frozenset(
    {
        *("api-keys", "desired-consents", "first-receipts", "gate-receipts", "iys-freshness"),
        *("ledger-positions", "opted-out-merchants", "order-positions"),
    }
)
"""The topics that are not in the document."""


def audience_of(topic: str) -> Audience:
    """Return for whom ``topic`` is; raises KeyError for one that stands nowhere here."""
    return Audience.INTERNAL if topic in INTERNAL else _OFFERS[topic].audience


def asyncapi_document() -> str:
    """Return the text of the document."""
    topics = {topic.name: topic for topic in Topics()}
    codec = Codec()
    messages = {}
    for name, offer in _OFFERS.items():
        messages[topics[name].record] = _message(topics[name], offer, codec)
        if name in _ERASABLE:
            messages[_ERASED] = _tombstone(topics[name], offer)
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "izin topics",
            "version": "1",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE[1],
        "servers": {"kafka": _server()},
        "channels": {name: _channel(topics[name], offer) for name, offer in _OFFERS.items()},
        "operations": dict(_operation(name, offer) for name, offer in _OFFERS.items()),
        "components": {"messages": messages},
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


_ERASABLE = frozenset({"permissions"})
"""The topics in which a key may be erased."""
_ERASED = "PermissionErased"


def _server() -> Schema:
    default = KafkaSettings.model_fields["bootstrap_servers"].default
    return {
        "host": "{bootstrap}",
        "protocol": "kafka",
        "description": "How connections are encrypted and authenticated is in security.md.",
        "variables": {
            "bootstrap": {
                "default": default,
                "description": "Brokers, as the operator names them (KAFKA_BOOTSTRAP_SERVERS).",
            }
        },
    }


def _channel(topic: Topic, offer: Offer) -> Schema:
    names = [topic.record, *([_ERASED] if topic.name in _ERASABLE else [])]
    return {
        "address": topic.name,
        "description": offer.summary,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "tags": [{"name": offer.audience}],
        "bindings": {
            "kafka": {
                "partitions": DEFAULT_PARTITIONS if topic.is_partitioned else 1,
                "topicConfiguration": {
                    name: _configured(name, value) for name, value in topic.config.items()
                },
                **_BINDING,
            }
        },
    }


def _configured(name: str, value: str) -> str | int | list[str]:
    if name == "cleanup.policy":
        return value.split(",")
    return int(value) if name.rpartition(".")[2] in {"ms", "bytes"} else value


def _operation(name: str, offer: Offer) -> tuple[str, Schema]:
    action = "receive" if offer.audience is Audience.PUBLISH else "send"
    return f"{action}-{name}", {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": offer.summary,
        "tags": [{"name": offer.audience}],
    }


def _message(topic: Topic, offer: Offer, codec: Codec) -> Schema:
    contract, value = contracts.current()[topic.record], golden(topic.record)
    encoded = codec.encode(topic.record, value)
    found = _written(topic, offer, topic.record, contract.schema["doc"])
    return {
        **found,
        "payload": {"schemaFormat": _AVRO, "schema": contract.schema},
        "examples": [
            {"name": "golden", "headers": _example_headers(topic, value), "payload": _json(value)}
        ],
        "x-single-object-header": codec.header(topic.record).hex(" "),
        "x-values-base64": [b64encode(encoded).decode()],
    }


def _tombstone(topic: Topic, offer: Offer) -> Schema:
    return {
        **_written(topic, offer, _ERASED, "A record without a value: the key was erased."),
        "payload": {"type": "null"},
        "examples": [
            {"name": "erased", "headers": _example_headers(topic, {}), "payload": None},
        ],
    }


def _written(topic: Topic, offer: Offer, name: str, summary: str) -> Schema:
    """Return what every record of ``topic`` has: name, headers, key, the place of a schema's id."""
    return {
        "name": name,
        "summary": summary,
        "contentType": CONTENT_TYPE[1],
        "headers": _headers(topic.record),
        "bindings": {
            "kafka": {
                "key": offer.key,
                "schemaIdLocation": "payload",
                "schemaIdPayloadEncoding": "confluent",
                "schemaLookupStrategy": "RecordNameStrategy",
                **_BINDING,
            }
        },
    }


def _headers(record: str) -> Schema:
    properties = {
        VERSION[0]: {"const": VERSION[1]},
        ID: described({"type": "string"}, f"With {SOURCE} it names one record."),
        TYPE: {"const": f"izin.{record}"},
        SOURCE: {"type": "string", "format": "uri-reference"},
        TIME: {"type": "string", "format": "date-time"},
        CONTENT_TYPE[0]: {"const": CONTENT_TYPE[1]},
    }
    return {"type": "object", "required": [*properties], "properties": properties}


def _example_headers(topic: Topic, value: Mapping[str, Any]) -> Mapping[str, str]:
    """Return headers as a record of ``value`` has them; the ids of records of ours are opaque."""
    is_event = topic.record == "ConsentEvent"
    return attributes(
        record=topic.record,
        event_id=value["event_id"] if is_event else f"{topic.name}/3/1041",
        source=f"/{value['origin']}" if is_event else f"/izin/{topic.owner.partition(',')[0]}",
        at=_AT,
    )


def _json(value: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON
    """Return ``value`` as Avro has it in JSON: instants in milliseconds, bytes as ISO 8859-1."""

    def plain(found: datetime | bytes) -> int | str:
        if isinstance(found, bytes):
            return found.decode("latin-1")
        return (found - _EPOCH) // timedelta(milliseconds=1)

    return json.loads(json.dumps(value, default=plain))
