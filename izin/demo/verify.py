"""The verdict: what every topic, the ledger and İYS tell, gathered once at the end and compared."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from izin.console.read_topic import read_all
from izin.demo.compare import Ending, Wanted, compare, regressions, repeated
from izin.demo.report import Report, latency
from izin.demo.scenario import delays
from izin.demo.simulator_client import Twin
from izin.schemas.records import consent_from_avro

if TYPE_CHECKING:
    from collections.abc import Iterable

    from izin.console.local_stack.stack import LocalStack
    from izin.console.read_topic import Told
    from izin.demo.compare import Comparison
    from izin.demo.ledger import LedgerView
    from izin.demo.scenario import Played
    from izin.schemas.codec import Codec

_TOO_MANY = "429"
_PUSHES = "push"
"""İYS's calls to us."""


def judge(
    house: LocalStack, codec: Codec, ledger: LedgerView, played: Played, *, began: float
) -> Report:
    """Return the report of a story that was played; ``began`` is monotonic seconds."""
    settings = house.kafka_settings
    topics = settings.topics
    rows = list(read_all(settings, codec, topics.consents))
    decisions = list(read_all(settings, codec, topics.decisions))
    opt_outs = list(read_all(settings, codec, topics.opt_outs))
    letters = list(read_all(settings, codec, topics.dead_letters))
    permitted = {
        one.key: bool(one.value["may_send"])
        for one in read_all(settings, codec, topics.permissions)
    }
    wanted = {one.key: Wanted(status=one.value["status"]) for one in rows}
    with Twin(house.simulator_url) as twin:
        register = {one.key: one.status for one in twin.register()}
        movements = list(twin.movements())
        counted = twin.requests()
    found = compare(wanted, ledger.kept(), register, permitted)
    for key in regressions((one.key, consent_from_avro(one.value).order) for one in rows):
        found.blame(key, "consents went back in the law's order")
    ours = (
        (one.key, one.status, one.consent_date) for one in movements if one.came_by != "citizen"
    )
    for key, status, _ in repeated(ours):
        found.blame(key, f"İYS accepted the same {status} twice")
    _check_truth(found, played, len(wanted))
    _check_decided_once(found, decisions)
    _check_opt_outs(found, decisions, opt_outs)
    for one in played.rejections:
        if one.key not in played.heard:
            found.blame(one.key, "a citizen's no did not reach the subscriber")
    accepted = played.imported.published + played.signups + len(played.rejections)
    events = ledger.events()
    if events < accepted:
        found.blame("both lanes", f"{accepted:,} events were accepted, {events:,} are there")
    by_push, by_pull = delays(played.rejections, played.heard)
    kinds = Counter(one.value["kind"] for one in decisions)
    return Report(
        rows_read=played.imported.rows,
        rows_refused=played.imported.refused,
        refusal_reasons=played.imported.reasons,
        signups=played.signups,
        events_published=events,
        duplicates=events - len(decisions) - len(letters),
        stale=kinds["Stale"],
        enriched=kinds["Enriched"],
        applied=kinds["Apply"],
        dead_letters=len(letters),
        keys=len(wanted),
        registered=found.endings[Ending.REGISTERED],
        expired=found.endings[Ending.EXPIRED],
        kept_locally=found.endings[Ending.KEPT_LOCALLY],
        parked=found.endings[Ending.PARKED],
        refused_by_iys=found.endings[Ending.REFUSED],
        opt_outs=len(opt_outs),
        citizens=len(played.rejections),
        citizens_heard=sum(one.key in played.heard for one in played.rejections),
        push=latency(by_push),
        pull=latency(by_pull),
        iys_requests={
            name: one["total"] for name, one in counted["operations"].items() if name != _PUSHES
        },
        iys_refusals=counted["codes"],
        too_many_requests=counted["statuses"].get(_TOO_MANY, 0),
        differences=tuple(found.differences),
        chaos=tuple(played.killed),
        seconds=round(time.monotonic() - began, 1),
    )


def _check_truth(found: Comparison, played: Played, keys: int) -> None:
    """Hold what the import did against what the generator knows it wrote."""
    truth, imported = played.truth, played.imported
    for what, known, came in (
        ("rows read", truth.rows, imported.rows),
        ("rows refused", truth.refused, imported.refused),
        ("rows published", truth.published, imported.published),
        ("opt-outs not registrable", truth.not_registrable, imported.not_registrable),
        # Every signup is of another person, whom the export does not know.
        ("keys", truth.keys + played.signups, keys),
    ):
        if known != came:
            found.blame("the export", f"{what}: {known:,} were written, {came:,} came")


def _check_decided_once(found: Comparison, decisions: Iterable[Told]) -> None:
    coordinates = Counter(
        (one.value["topic"], one.value["partition"], one.value["offset"]) for one in decisions
    )
    for (topic, partition, offset), count in coordinates.items():
        if count > 1:
            found.blame(f"{topic}/{partition}/{offset}", f"decided {count} times")


def _check_opt_outs(found: Comparison, decisions: Iterable[Told], opt_outs: Iterable[Told]) -> None:
    due = Counter(
        (one.key, one.value["consent"]["event_id"]) for one in decisions if one.value["opted_out"]
    )
    told = Counter((one.key, one.value["event_id"]) for one in opt_outs)
    for key, _ in due - told:
        found.blame(key, "a change to RET was not told")
    for key, _ in told - due:
        found.blame(key, "an opt-out was told that no decision made")
