"""``python -m tools.generate`` (``make docs``): write the files that are generated from code."""

import ast
import json
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from inspect import getsource
from itertools import pairwise
from pathlib import Path
from textwrap import dedent, indent
from typing import cast, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from izin.consent import CLASSES, transitions, violations as law
from izin.iys.errors import VERDICTS, Verdict
from izin.ledger.record import messages
from izin.ledger.retention import TABLES
from izin.producers.mapping import field_names as ours
from izin.runtime.setting_rules.group import SUFFIX, is_secret
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
    WebhookSettings,
)
from izin.schemas import contracts
from izin.schemas.topics import DEFAULT_PARTITIONS, Topic, Topics
from izin.streams import guard
from izin.views.explanation import STATES
from tools.generate_acls import acls_script
from tools.generate_asyncapi import PATH as ASYNCAPI, asyncapi_document, audience_of
from tools.generate_benchmarks import benchmarks_page
from tools.generate_commands import commands_page, summaries
from tools.generate_monitoring import alerts_page, dashboards, metrics_page
from tools.generate_offsets import offset_modules
from tools.generate_schemas import schema_files
from tools.openapi.documents import documents
from tools.openapi.page import http_page

ROOT = Path(__file__).parents[1]
_DAY_MS = 24 * 60 * 60 * 1000
_NOTE = "<!-- Generated from code by `make docs`; changes here are lost. -->\n"


def pages() -> Mapping[str, str]:
    """Return the text of each file that is generated, or has a generated part, by its path."""
    return {
        ASYNCAPI: asyncapi_document(),
        "docs/alerts.md": alerts_page(_NOTE, ROOT),
        "docs/benchmarks.md": benchmarks_page(_NOTE),
        "docs/codes.md": _codes(),
        "docs/commands.md": commands_page(_NOTE),
        "docs/lifecycle.md": _lifecycle(),
        "docs/http.md": http_page(_NOTE),
        "docs/metrics.md": metrics_page(_NOTE, ROOT),
        "docs/messages.md": _messages(),
        "docs/retention.md": _retention(),
        "docs/topics.md": _topics(),
        "docs/settings.md": _settings(),
        _TRANSITIONS: _guarded(),
        "deploy/kafka/acls.sh": acls_script(),
        "izin/cli/summaries.json": summaries(),
        **dashboards(),
        **documents(),
        **offset_modules(),
        **schema_files(ROOT),
    }


_TRANSITIONS = "izin/ledger/migrations/0003_transitions.sql"
_GUARD = "        -- Generated from izin.consent.transitions: "
"""Before the words begin and end, around the condition of the trigger that guards transitions."""

_LIFECYCLE = """{note}
# Lifecycle of an obligation

The states of what is due to İYS for one key, from the table in `izin.consent.transitions`. A
transition that is not shown is an error and changes nothing. The ledger's database refuses it too:
the condition of its trigger (`{schema}`) is generated from
the same table.

| state | what it says |
|---|---|
{states}

`superseded` is said of an event alone, by [`izin api`](api.md); what stands for the recipient is
said by its lookup.

```mermaid
{diagram}```
"""

_CODES = """{note}
# Codes

Which package reports or reads which code. An `H` code is İYS's own, an `IZIN-` code is ours.

## Reported before a submission

The producers check the notation of a record, the law its content, the order stage whether it is a
record at all. An opt-out whose key can be read is admitted whatever codes it gets.

| code | reported by | English | Turkish |
|---|---|---|---|
{named}

## Read from İYS's response

From `izin.iys.errors`, whatever the HTTP status. A code that is not listed is `unknown`: it is
never final, and a person must act.

| verdict | codes |
|---|---|
{read}
"""

_NAMING = {
    "the producers": ours.REASONS,
    "the law": law.REASONS,
    "the order stage": guard.REASONS,
    "the sinks": messages.REASONS,
}

_MESSAGES = """{note}
# Classes of messages

From `izin.consent.message_classes`. A commercial message needs a consent that İYS holds. An exempt
one may be sent whatever is registered, **as long as it promotes nothing**: with one line of
advertising it is commercial. Without a class a message is commercial.

Name the class where you ask whether a message may be sent: `message_class` of the
[gate](gate.md), `--class` of `izin may-send` and `izin scrub`. [sending.md](sending.md) has an
example of each.

| class | kind | from | because |
|---|---|---|---|
{rows}
"""

_TOPICS = """{note}
# Topics

From `izin.schemas.topics`. P is fixed for life ({partitions} unless set otherwise). Topics of P
partitions carry the canonical key `brand_code/type/recipient_type/recipient`, on the partition that
murmur2 gives it; `order-positions` has a record for each partition number, on that partition, and
`first-receipts` is keyed by event id, `gate-receipts` by receipt id. `ledger-positions` has one
record, `iys-freshness` one for each `brand_code/type`. In `desired-consents` an erased key is a
tombstone, and a suppression stands beside it, whose key begins with `suppressed/`: skip it
([privacy.md](privacy.md)). `opted-out-merchants` has such keys alone.

All but `order-positions` and `first-receipts` carry the headers of CloudEvents 1.0
(`ce_specversion`, `ce_id`, `ce_type`, `ce_source`, `ce_time`), and `content-type: application/avro`
beside them. `ce_source` and `ce_id` together name one record: the same record published again has
the same, any other has another, also where both are about one event (whose own `event_id` is a
field of the record).

[asyncapi.json](asyncapi.json) describes the topics that others write (publish) and read (subscribe;
operate: operators; verify: whoever verifies evidence) to tools that read AsyncAPI 3: names,
schemas, keys, headers, and an example of each record, also byte by byte. Internal topics change
without notice.

| topic | for others | record | partitions | written by | settings | dead letters |
|---|---|---|---|---|---|---|
{rows}
"""

_RETENTION = """{note}
# Retention

Where personal data is, and for how long. What `izin privacy erase` does sooner is in
[privacy.md](privacy.md).

## Topics

From `izin.schemas.topics`: those that name a recipient. All others name nobody, but for the key of
a record in `first-receipts`: the id of an event, for a day.

| topic | a record is kept | because |
|---|---|---|
{topics}

## State, logs and files

| where | what | it is kept |
|---|---|---|
| state of order workers | what `desired-consents` has | as there; RocksDB's files until compacted |
| memory of feeds | the latest of what they serve | an hour at most; nothing on disk |
| memory of gates | digests of keys, with what is known of each | until the process ends |
| logs | no recipient: they are masked | as your log store keeps them |
| permission lists of subscribers | digests of keys, in memory | until the process ends |
| memory and disk of sink workers | daily files that are compared, without a name | until then |
| files of imports, scrubs, exports and reports, backups | what you wrote there | as you keep them |
| files imported in the console, and their refused rows (`IZIN_CONSOLE_UPLOADS`) | recipients in \
full | until somebody deletes them, or `IZIN_CONSOLE_UPLOADS_KEPT` after the last work on them |
| rows of the report of an import that stopped (`.….rows` beside the report) | cells of refused \
rows | until the import is repeated to its end, or you delete them |
| journals of imports (`.journal` beside the report) | digests, counts and a row number; no \
recipient | until you delete them |
| what `izin customers onboard` and `pack` read, while they run | recipients in full, in a \
temporary file of the process | until the process ends |
| reports and lists of void consents (`izin customers onboard`, `void`) | recipients in full | as \
you keep them: erasing does not reach them |
| application packs (`izin customers pack`) | counts, and the names of signatories; no recipient | \
as you keep them |
| archives (`izin ledger archive`) | the history, complaints, legal holds, erasures | as the \
history: what was erased or dropped goes with the next run; copies elsewhere are yours |
| archives of customers that left (`izin customers offboard`) | everything of one customer | \
as you keep them: erasing does not reach them |
| archives of evidence (`izin evidence`) | everything of one recipient | as you keep them: erasing \
does not reach them |
| plans of replays and reconciliations with the folders of their work, lists of differences | \
recipients in full | until you delete them |

## Tables of the ledger

From `izin.ledger.retention`. A sink worker deletes what has expired every hour, in
small transactions: no submission under a legal hold, none that is not settled, and none whose calls
and answers are not in the history, for which it logs `settled submissions not in the history`. The
retailers of a call are in the decision on its event.

| table | a row is kept | because |
|---|---|---|
{rows}
"""

_RECORD = """
## {record}

{doc}

| field | type | |
|---|---|---|
{rows}
"""

_SETTINGS = """{note}
# Settings

From `izin.runtime.settings`: read from the environment once, at the start of a process. Durations
are ISO 8601 (`PT5S`) or seconds, lists are JSON. A secret may be in a file instead, which a second
variable names (`{suffix}`): the file is text in UTF-8, without the line break at its end. Only one
of the two may be set. What does not go together is refused at the start; how connections are
encrypted is in [security.md](security.md). What an installation sets first, file by file, is in
[deploying.md](deploying.md#3-settings-and-secrets-on-each-host).
"""

_GROUP = """
## {name}

{doc}

| name | type | default | |
|---|---|---|---|
{rows}
"""

_GROUPS = (
    KafkaSettings,
    LedgerSettings,
    IysSettings,
    StreamSettings,
    SinkSettings,
    IntakeSettings,
    OutboxSettings,
    FeedsSettings,
    GateSettings,
    WebhookSettings,
    ApiSettings,
    ConsoleSettings,
    SenderSettings,
    LogSettings,
)


def _settings() -> str:
    return _SETTINGS.format(note=_NOTE, suffix=f"…{SUFFIX}") + "".join(
        _group(one) for one in _GROUPS
    )


def _group(group: type[BaseSettings]) -> str:
    described = {
        name: text for one in reversed(group.__mro__) for name, text in _described(one).items()
    }
    rows = "\n".join(
        _row(
            _variables(field),
            _named(field.annotation),
            "must be set" if field.is_required() else _default(field.default),
            " ".join(described.get(name, "").replace("``", "`").split()),
        )
        for name, field in group.model_fields.items()
    )
    doc = (group.__doc__ or "").strip()
    return _GROUP.format(name=_titled(group), doc=doc, rows=rows)


def _described(group: type) -> Mapping[str, str]:
    """Return the docstrings of the fields that ``group`` declares itself.

    Read here, as no process that only has settings should read the source for them.
    """
    if not group.__module__.startswith("izin."):
        return {}
    (declared,) = ast.parse(dedent(getsource(group))).body
    return {
        field.target.id: doc
        for field, behind in pairwise(cast("ast.ClassDef", declared).body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant)
        if isinstance(doc := behind.value.value, str)
    }


def _variables(field: FieldInfo) -> str:
    """Return the variables that may have the value of ``field``."""
    name = str(field.validation_alias)
    names = (name, f"{name}{SUFFIX}") if is_secret(field.annotation) else (name,)
    return " or ".join(f"`{one}`" for one in names)


def _titled(group: type[BaseSettings]) -> str:
    name = group.__name__.removesuffix("Settings")
    return "İYS" if name == "Iys" else name


def _named(annotation: object) -> str:
    """Return the type of a setting's value in words."""
    if isinstance(annotation, type):
        name = annotation.__name__
        if issubclass(annotation, StrEnum):
            return " or ".join(annotation)
        if get_origin(annotation) is None:
            return _TYPES.get(name, name)
    if get_origin(annotation) is tuple:
        return f"list of {_named(get_args(annotation)[0])}"
    given = [one for one in get_args(annotation) if one is not type(None)]
    return " or ".join(_named(one) for one in given)


_TYPES = {
    "str": "text",
    "int": "number",
    "float": "number",
    "bool": "true or false",
    "SecretStr": "secret",
    "timedelta": "duration",
    "Path": "path",
}


def _default(value: object) -> str:
    match value:
        case None | ():
            return "none"
        case "":
            return "empty"
        case timedelta():
            return f"`{TypeAdapter(timedelta).dump_python(value, mode='json')}`"
        case bool():
            return f"`{str(value).lower()}`"
        case _:
            return f"`{value}`"


def _lifecycle() -> str:
    states = "\n".join(_row(f"`{state}`", words) for state, words in STATES.items())
    diagram = transitions.diagram()
    return _LIFECYCLE.format(note=_NOTE, schema=_TRANSITIONS, states=states, diagram=diagram)


def _guarded() -> str:
    """Return the last migration of the guard with what the lifecycle has today."""
    text = (ROOT / _TRANSITIONS).read_text(encoding="utf-8")
    before, _, rest = text.partition(f"{_GUARD}begin\n")
    _, end, after = rest.partition(f"{_GUARD}end\n")
    guard = indent(transitions.guard(), " " * 8)
    return f"{before}{_GUARD}begin\n{guard}{end}{after}"


def _codes() -> str:
    named = "\n".join(
        _row(f"`{code}`", layer, *reasons)
        for layer, table in _NAMING.items()
        for code, reasons in sorted(table.items())
    )
    codes = {
        verdict: ", ".join(f"`{code}`" for code, meant in VERDICTS.items() if meant is verdict)
        for verdict in Verdict
    }
    read = "\n".join(_row(f"`{verdict}`", found) for verdict, found in codes.items() if found)
    return _CODES.format(note=_NOTE, named=named, read=read)


def _messages() -> str:
    rows = "\n".join(
        _row(f"`{name}`", rule.kind, rule.article, rule.sentence) for name, rule in CLASSES.items()
    )
    return _MESSAGES.format(note=_NOTE, rows=rows)


def _retention() -> str:
    rows = "\n".join(_row(f"`{name}`", one.kept, one.why) for name, one in TABLES.items())
    topics = "\n".join(map(_retention_of, filter(_names_a_person, Topics())))
    return _RETENTION.format(note=_NOTE, rows=rows, topics=topics)


def _names_a_person(topic: Topic) -> bool:
    """Whether a record of ``topic`` has, or contains, a field with personal data."""
    if topic.name == Topics().opted_out_merchants.name:
        return False  # digests alone: nobody's recipient
    schema = json.dumps(contracts.current()[topic.record].schema)
    return topic.record == "DeadLetter" or "Personal data" in schema


def _retention_of(topic: Topic) -> str:
    kept = topic.config.get("retention.ms")
    if kept is None:
        days = int(topic.config["max.compaction.lag.ms"]) // _DAY_MS
        return _row(
            f"`{topic.name}`",
            f"until its key is erased, and {days} days",
            "the latest of each key is the state; compaction removes what was erased",
        )
    return _row(f"`{topic.name}`", f"{int(kept) // _DAY_MS} days", "so long it can be read again")


def _topics() -> str:
    rows = "\n".join(_topic(topic) for topic in Topics())
    head = _TOPICS.format(note=_NOTE, partitions=DEFAULT_PARTITIONS, rows=rows)
    return head + "".join(_record(one) for one in contracts.current().values())


def _topic(topic: Topic) -> str:
    config = ", ".join(f"`{name}={value}`" for name, value in topic.config.items())
    return _row(
        f"`{topic.name}`",
        audience_of(topic.name),
        topic.record,
        "P" if topic.is_partitioned else "1",
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
    """Return the type of an Avro ``schema`` in words."""
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
    """Write the generated files."""
    for name, text in pages().items():
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
