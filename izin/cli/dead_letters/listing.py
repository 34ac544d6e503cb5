"""Dead letters printed: a list of them, or everything of one, with what became of each.

The letters are in Kafka, and what became of them is in the ledger. They concern people who have no
ledger, too: those of an order worker's machine.
"""

import base64
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from typing import Any

import psycopg
from pydantic import ValidationError

from izin.cli.terminal import (
    OutputFormat,
    kafka_settings,
    print_fields,
    print_json,
    print_rows,
    say,
    showing,
    turkish,
)
from izin.cli.terminal.ledger_session import look_beside, run_on_ledger
from izin.consent import IzinError
from izin.kafka.bounded_reader import TopicRecord
from izin.kafka.clients import codec
from izin.ledger import dead_letters
from izin.ledger.dead_letters import UNTOUCHED, LetterKey, LetterStatus
from izin.replay.dead_letters.outcomes import RedriveOutcome, obstacle_of
from izin.replay.dead_letters.reading import Content, DeadLetterReader, DeadLetterSelection, Letter
from izin.runtime.masking import masked
from izin.schemas.records import event_to_avro
from izin.schemas.topics import Topics
from izin.streams.guard import appended_at
from izin.views.cut import Look

_MOST = 1000
"""Letters that are listed, unless more are asked for: they are all in memory."""
_PAGE = 5000
_IDS = frozenset({"event_id", "cause", "ce_id"})
"""Fields that are not masked: an id may look like a phone number."""


def print_list(
    selection: DeadLetterSelection, output: OutputFormat, *, waiting: bool, limit: int | None
) -> None:
    """Print the letters of ``selection``, or only those ``waiting``; at most the newest ``limit``,
    and of them those of the express lane first.

    Raises OurError where they cannot be read.
    """
    settings = kafka_settings()
    reader = DeadLetterReader(settings, codec(settings))
    count, newest = 0, deque[tuple[Letter, LetterStatus]](maxlen=limit or _MOST)
    with showing("reading dead letters") as progress:
        for with_status in _with_statuses(reader.select(selection, progress=progress)):
            if not waiting or with_status[1].acknowledgement is None:
                newest.append(with_status)
                count += 1
    express = settings.topics.express.name
    # One of them may be an opt-out.
    shown = sorted(newest, key=lambda one: one[0].topic != express)
    rows = [_row(*one) for one in shown]
    print_rows(
        output,
        ("letter", "when (Turkey)", "position", "reason", "violations", "what became of it"),
        rows,
        as_json=[
            {
                "letter": letter.name,
                "acknowledged": status.acknowledgement and asdict(status.acknowledgement),
                "redriven": [asdict(one) for one in status.redriven],
                "corrected_by": status.corrected_by,
                "reason": letter.reason,
                "violations": [asdict(violation) for violation in letter.violations],
                "topic": letter.topic,
                "partition": letter.partition,
                "offset": letter.offset,
                "timestamp": letter.at,
                "value_size": letter.value_size,
                "value_sha256": letter.identity.digest,
            }
            for letter, status in shown
        ],
    )
    if count > len(newest):
        say(f"the newest {len(newest)} of {count} dead letters; --limit shows more")


def print_letter(name: str, output: OutputFormat, *, unmasked: bool, by: str) -> None:
    """Print everything of the letter ``name``; raises SourceError where there is none."""
    settings = kafka_settings()
    letter, content = DeadLetterReader(settings, codec(settings)).find(name)
    if unmasked:
        people = [] if content is None else [str(content.key or content.event.recipient)]
        look_beside(Look(command="dead-letters show", by=by, people=people))
    status = (_statuses([letter.identity]) or {}).get(letter.identity, UNTOUCHED)
    shown = _detail(letter, content, status, unmasked=unmasked)
    shown["what to do"] = _remedy(letter, settings.topics) if status == UNTOUCHED else ""
    match output:
        case OutputFormat.JSON:
            if unmasked and letter.value is not None:
                shown["value"] = base64.b64encode(letter.value).decode()
            print_json({word.replace(" ", "_"): value for word, value in shown.items()})
        case OutputFormat.TABLE:
            print_fields(_detail_rows(shown))


def acknowledged(topic: str, letters: Iterable[TopicRecord]) -> int | None:
    """Return how many of the ``letters`` that were read from ``topic`` are acknowledged; None where
    the ledger cannot be read.
    """
    found = _statuses(
        [
            LetterKey(
                topic=topic,
                partition=letter.partition,
                offset=letter.offset,
                digest=letter.value["value_sha256"],
            )
            for letter in letters
        ]
    )
    return None if found is None else sum(1 for one in found.values() if one.acknowledgement)


def _statuses(letters: Collection[LetterKey]) -> Mapping[LetterKey, LetterStatus] | None:
    """Return what became of those of ``letters`` about which anything was done; None where the
    ledger cannot be read.
    """
    if not letters:
        return {}
    try:
        return run_on_ledger(lambda ledger: dead_letters.statuses(ledger, letters))
    except (ValidationError, IzinError, psycopg.Error):
        return None


def _with_statuses(
    letters: Iterator[tuple[Letter, Content | None]],
) -> Iterator[tuple[Letter, LetterStatus]]:
    """Yield ``letters`` with what became of each, some thousands at a time; where the ledger cannot
    be read, which is said once, nothing is known.
    """
    is_said = False
    while page := [letter for letter, _ in islice(letters, _PAGE)]:
        known = _statuses([letter.identity for letter in page])
        if known is None and not is_said:
            say("the ledger cannot be read (DATABASE_URL), so it is not shown what became of which")
            is_said = True
        for letter in page:
            yield letter, (known or {}).get(letter.identity, UNTOUCHED)


def _row(letter: Letter, status: LetterStatus) -> tuple[object, ...]:
    wrong = (
        f"{violation.field}: {violation.reason} ({violation.code})"
        for violation in letter.violations
    )
    became = "\n".join(_became_of(status))
    return letter.name, letter.at, letter.position, letter.reason, "\n".join(wrong), became


def _became_of(status: LetterStatus) -> Iterator[str]:
    """Yield what became of a letter, a sentence for each that was done about it."""
    for again in status.redriven:
        result = "what became of it is not known yet"
        if again.result is not None:
            result = f"{again.result}, {RedriveOutcome(again.result).words}"
        yield f"redriven to {again.to}: {result} (by {again.by}, {turkish(again.at)})"
    if status.corrected_by is not None:
        yield f"corrected by event {status.corrected_by}"
    if (one := status.acknowledgement) is not None:
        yield f"{one.reason} (by {one.by}, {turkish(one.at)})"


def _remedy(letter: Letter, topics: Topics) -> str:
    """Return what to do about a letter with which nobody has dealt."""
    name = letter.name
    acknowledge = f'if nothing is to be done: izin dead-letters acknowledge {name} --reason "…"'
    obstacle = obstacle_of(letter, topics)
    if obstacle is not None:
        return f"{obstacle.why}; {obstacle.remedy or acknowledge}"
    return (
        f'once its cause is gone: izin dead-letters redrive {name} --reason "…"; where its content '
        f"is wrong: izin publish --corrects {name} …; {acknowledge}"
    )


def _detail(
    letter: Letter, content: Content | None, status: LetterStatus, *, unmasked: bool
) -> dict[str, Any]:
    """Return everything that can be read of a letter; its recipient is masked, unless
    ``unmasked``, and evidence left out.
    """
    shown: dict[str, Any] = {
        "letter": letter.name,
        "what became of it": list(_became_of(status)) or ["nobody has dealt with it"],
        "reason": letter.reason,
        "violations": [asdict(violation) for violation in letter.violations],
        "record": letter.position,
        "appended": letter.at,
        "first appended": appended_at(letter),
        "bytes": letter.value_size,
        "sha256": letter.identity.digest,
        "key": _text(letter.key),
        "headers": {name: _text(content) or "" for name, content in letter.headers},
        "event": None if content is None else _event(content, unmasked=unmasked),
    }
    if not unmasked:
        shown |= {name: shown[name] and _masked(shown[name]) for name in ("headers", "event")}
        shown["key"] = masked("key", shown["key"])
    return shown


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="replace")


def _event(content: Content, *, unmasked: bool) -> dict[str, Any]:
    event = {
        name: value
        for name, value in event_to_avro(content.event).items()
        if value not in (None, {}, "")
    }
    if "evidence" in event and not unmasked:
        event["evidence"] = dict.fromkeys(event["evidence"], "***")
    damaged = {"damaged": list(content.damaged)} if content.damaged else {}
    return event | {"key": str(content.key) if content.key else None} | damaged


def _masked(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if name in _IDS or isinstance(value, datetime) else masked(name, value)
        for name, value in fields.items()
    }


def _detail_rows(shown: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield the rows of a ``_detail`` in words; instants are in Turkish time."""
    for name, value in shown.items():
        match name:
            case "violations":
                for one in value:
                    yield one["field"], f"{one['reason']} ({one['code']})\n{one['reason_tr']}"
            case "what became of it":
                yield name, "\n".join(value)
            case "event" if value is None:
                yield name, "nothing of the record can be read"
            case "event" | "headers":
                yield from ((f"{name}: {field}", of) for field, of in value.items())
            case _:
                yield name, value
