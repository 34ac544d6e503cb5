"""Check the end of a scenario: topics, ledger and İYS are read once and compared."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from izin.console.local_stack.stack import LocalStack
from izin.demo.actors import SimulatorClient
from izin.demo.ledger import LedgerView
from izin.demo.report import (
    Comparison,
    DesiredState,
    FinalState,
    Report,
    compare,
    latency,
    regressions,
    repeated,
)
from izin.demo.scenario import ScenarioResult, delays
from izin.kafka.bounded_reader import TopicRecord, read_all
from izin.schemas.codec import Codec
from izin.schemas.records import consent_from_avro

_TOO_MANY = "429"
_PUSHES = "push"
"""İYS's calls to us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicContents:
    """Every record of the topics that are compared."""

    desired_consents: list[TopicRecord]
    decisions: list[TopicRecord]
    opt_outs: list[TopicRecord]
    dead_letters: list[TopicRecord]
    permissions: list[TopicRecord]


def verify(
    stack: LocalStack, codec: Codec, ledger: LedgerView, result: ScenarioResult, *, start: float
) -> Report:
    """Return the report of a scenario; ``start`` is monotonic seconds."""
    settings = stack.kafka_settings
    topics = TopicContents(
        **{
            name: list(read_all(settings, codec, getattr(settings.topics, name)))
            for name in TopicContents.__slots__
        }
    )
    desired = {
        one.key: DesiredState(one.value["status"], one.value["event_id"])
        for one in topics.desired_consents
    }
    permitted = {one.key: bool(one.value["may_send"]) for one in topics.permissions}
    with SimulatorClient(stack.url("simulator")) as client:
        register = {one.key: one.status for one in client.register()}
        movements = list(client.movements())
        counts = client.requests()
    found = compare(desired, ledger.states(), register, permitted)
    for key in regressions(
        (one.key, consent_from_avro(one.value).order) for one in topics.desired_consents
    ):
        found.add(key, "desired-consents decreased in the law's order")
    ours = ((one.key, one.status, one.consent_date) for one in movements if one.path != "citizen")
    for key, status, _ in repeated(ours):
        found.add(key, f"İYS accepted the same {status} twice")
    _check_import(found, result, len(desired))
    _check_decided_once(found, topics.decisions)
    _check_opt_outs(found, topics)
    for one in result.citizens:
        if one.key not in result.received:
            found.add(one.key, "a citizen's opt-out did not reach the subscriber")
    events = ledger.events()
    accepted = result.imported.published + result.signups + len(result.citizens)
    if events < accepted:
        found.add("both lanes", f"{accepted:,} events were accepted, {events:,} are there")
    return _report(found, topics, result, counts, events=events, start=start)


def _report(  # noqa: PLR0913 - what was found, and what it was found in
    found: Comparison,
    topics: TopicContents,
    result: ScenarioResult,
    counts: dict[str, Any],
    *,
    events: int,
    start: float,
) -> Report:
    by_push, by_pull = delays(result.citizens, result.received)
    kinds = Counter(one.value["kind"] for one in topics.decisions)
    return Report(
        rows_read=result.imported.rows,
        rows_refused=result.imported.refused,
        refusal_reasons=result.imported.reasons,
        signups=result.signups,
        events_published=events,
        duplicates=events - len(topics.decisions) - len(topics.dead_letters),
        stale=kinds["Stale"],
        enriched=kinds["Enriched"],
        applied=kinds["Apply"],
        dead_letters=len(topics.dead_letters),
        keys=len({one.key for one in topics.desired_consents}),
        registered=found.final_states[FinalState.REGISTERED],
        expired=found.final_states[FinalState.EXPIRED],
        local_only=found.final_states[FinalState.LOCAL_ONLY],
        parked=found.final_states[FinalState.PARKED],
        refused_by_iys=found.final_states[FinalState.REFUSED],
        opt_outs=len(topics.opt_outs),
        citizens=len(result.citizens),
        citizens_received=sum(one.key in result.received for one in result.citizens),
        push=latency(by_push),
        pull=latency(by_pull),
        iys_requests={
            name: one["total"] for name, one in counts["operations"].items() if name != _PUSHES
        },
        iys_refusals=counts["codes"],
        too_many_requests=counts["statuses"].get(_TOO_MANY, 0),
        differences=tuple(found.differences),
        chaos=tuple(result.kills),
        seconds=round(time.monotonic() - start, 1),
    )


def _check_import(found: Comparison, result: ScenarioResult, keys: int) -> None:
    """Compare the import with what was written."""
    truth, imported = result.truth, result.imported
    for what, written, read in (
        ("rows read", truth.rows, imported.rows),
        ("rows refused", truth.refused, imported.refused),
        ("rows published", truth.published, imported.published),
        ("opt-outs not registrable", truth.not_registrable, imported.not_registrable),
        # Every signup is of another person, who is not in the export.
        ("keys", truth.keys + result.signups, keys),
    ):
        if written != read:
            found.add("the export", f"{what}: {written:,} were written, {read:,} were read")


def _check_decided_once(found: Comparison, decisions: Iterable[TopicRecord]) -> None:
    coordinates = Counter(
        (one.value["topic"], one.value["partition"], one.value["offset"]) for one in decisions
    )
    for (topic, partition, offset), count in coordinates.items():
        if count > 1:
            found.add(f"{topic}/{partition}/{offset}", f"decided {count} times")


def _check_opt_outs(found: Comparison, topics: TopicContents) -> None:
    due = Counter(
        (one.key, one.value["consent"]["event_id"])
        for one in topics.decisions
        if one.value["opted_out"]
    )
    published = Counter((one.key, one.value["event_id"]) for one in topics.opt_outs)
    for key, _ in due - published:
        found.add(key, "a change to RET was not published")
    for key, _ in published - due:
        found.add(key, "an opt-out was published that no decision made")
