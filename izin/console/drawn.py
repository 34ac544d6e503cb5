"""Draws the pages that are made from code: ``docs/lifecycle.md`` and ``docs/topics.md``.

``python -m izin.console.drawn`` writes them; a test fails where they differ from what it would
write.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from izin.consent import lifecycle
from izin.schemas import contracts
from izin.schemas.topics import DEFAULT_PARTITIONS, Topics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from izin.schemas.topics import Topic

DOCS = Path(__file__).parents[2] / "docs"
_MADE = "<!-- Made from code by `make docs`; changes here are lost. -->\n"


def pages() -> Mapping[str, str]:
    """Return every drawn page by its file name."""
    return {"lifecycle.md": _lifecycle(), "topics.md": _topics()}


_LIFECYCLE = """{made}
# Lifecycle of an obligation

What a key still owes İYS, from `izin.consent.lifecycle`. A transition that is not drawn is an error
that changes nothing; the ledger's database refuses it too.

```mermaid
{drawn}```
"""

_TOPICS = """{made}
# Topics

From `izin.schemas.topics`. P is fixed for life ({partitions} unless set otherwise). Keyed topics
carry the canonical key `brand_code/type/recipient_type/recipient`, on the partition that murmur2
gives it.

| topic | record | partitions | written by | settings | dead letters |
|---|---|---|---|---|---|
{rows}
"""

_RECORD = """
## {record}

{doc}

| field | type | |
|---|---|---|
{rows}
"""


def _lifecycle() -> str:
    return _LIFECYCLE.format(made=_MADE, drawn=lifecycle.drawn())


def _topics() -> str:
    rows = "\n".join(_topic(topic) for topic in Topics())
    head = _TOPICS.format(made=_MADE, partitions=DEFAULT_PARTITIONS, rows=rows)
    return head + "".join(_record(one) for one in contracts.current().values())


def _topic(topic: Topic) -> str:
    config = ", ".join(f"`{name}={value}`" for name, value in topic.config.items())
    return _row(
        f"`{topic.name}`",
        topic.record,
        "P" if topic.keyed else "1",
        topic.owner,
        config,
        f"`{topic.dead_letters}`" if topic.dead_letters else "",
    )


def _record(contract: contracts.Contract) -> str:
    rows = "\n".join(
        _row(f"`{field['name']}`", _type(field["type"]), field.get("doc", ""))
        for field in contract.schema["fields"]
    )
    return _RECORD.format(record=contract.record, doc=contract.schema["doc"], rows=rows)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _type(schema: object) -> str:
    """Return in words what an Avro ``schema`` takes."""
    match schema:
        case list():
            words = " or ".join(_type(one) for one in schema)
        case {"logicalType": str(name)} | str(name):
            words = name
        case {"type": "array", "items": items}:
            words = f"list of {_type(items)}"
        case {"type": "map", "values": values}:
            words = f"map of {_type(values)}"
        case {"name": str(name)}:
            words = name
        case _:
            raise TypeError(f"no words for the schema {schema}")
    return words


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
