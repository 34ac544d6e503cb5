"""Submit a backlog to the simulator at İYS's limit with sink processes, and opt-outs meanwhile."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, LiteralString

import httpx
import orjson

from benchmarks.process_usage import cpu_seconds
from benchmarks.sink.fixture import BRANDS, SinkFixture, consent_instants, for_each_brand
from benchmarks.sink.iys_account import register
from izin.local import Child

RATE = 10.0
"""Requests a second that İYS accepts from an address."""
_NONE = 1_000_000_000
_CITIZENS_AT_ONCE = 5000
_FAILING_OPERATIONS = ("batchV2", "resultV2", "addV2")
_POLL_INTERVAL, _SOON = 0.5, 0.02
_GIVE_UP = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRates:
    """The faults of calls: shares of the calls, and delays in seconds."""

    jitter: float
    """Requests arrive up to so many seconds late."""
    refused: float
    """Of the items."""
    failing: float
    """Of the calls: as many busy, failing and without an answer in time."""
    slow_seconds: float
    """How long a call without an answer in time takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOutLatency:
    """The latency of an opt-out during the run."""

    state: str
    """Of the consent when its recipient opted out."""
    seconds: float
    """Until İYS had answered its submission."""
    registered: bool
    """Whether İYS's register ends with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitRun:
    """The use of İYS's limit in one run; durations in seconds, shares of the permitted requests."""

    consents: int
    seconds: float
    submitting_seconds: float
    """Until nothing was left to submit; after it results alone are polled."""
    calls: int
    submitting_calls: int
    operations: dict[str, int]
    codes: dict[str, int]
    accepted: int
    refused: int
    polls_a_batch: float
    used: float
    """Of İYS's ten requests a second, while there was something to submit."""
    settled_a_second: float
    settled_of_possible: float
    """Of ten requests a second, a batch costing its own and its polls."""
    throttled_in_100k: float
    opt_outs: list[OptOutLatency] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)
    """Cores used, by process."""


async def add_backlog(url: str, consents: int, refused: float) -> None:
    """Add consents that are due to İYS, evenly over the brands; İYS refuses a share of them."""
    every = round(1 / refused) if refused else _NONE
    values = {"count": consents // len(BRANDS), "every": every} | consent_instants()
    await for_each_brand(url, "pending_with_refusals.sql", values)


def configure_simulator(simulator: str, consents: int, rates: FaultRates, *, delay: float) -> None:
    """Configure the simulator with our brands, İYS's limits, and the faults of the run."""
    url = f"{simulator}/__simulator__"
    with httpx.Client(base_url=url, trust_env=False, timeout=120) as admin:

        def post(what: str, **fields: object) -> None:
            admin.post(f"/{what}", json=fields).raise_for_status()

        post("reset", everything=True)
        post(
            "settings",
            requestsPerSecond=int(RATE),
            requestWindow="sliding",
            tokenLimit=10,
            resultDelay=delay,
            requestJitter=rates.jitter,
        )
        register(post)
        for code in BRANDS:
            if rates.refused:
                _add_merchants(post, code, consents // len(BRANDS), round(1 / rates.refused))
        faults: tuple[dict[str, object], ...] = (
            {"status": 400, "code": "H123"},
            {"status": 503, "code": "H192"},
            {"slowSeconds": rates.slow_seconds},
        )
        for fault in faults if rates.failing else ():
            for operation in _FAILING_OPERATIONS:
                share = rates.failing / len(faults)
                post("faults", operation=operation, times=None, share=share, **fault)


def _add_merchants(post: Callable[..., None], code: int, count: int, every: int) -> None:
    """Add a record of each merchant whose consent the simulator is to refuse."""
    numbers = range(every, count + 1, every)
    for place in range(0, len(numbers), _CITIZENS_AT_ONCE):
        post(
            "citizen",
            movements=[
                {
                    "brandCode": code,
                    "type": "MESAJ",
                    "recipientType": "TACIR",
                    "recipient": f"+9053{number:08d}",
                    "status": "RET",
                    "source": "IYS_WEB_YENI",
                    "consentDate": "2026-01-05 10:00:00",
                }
                for number in numbers[place : place + _CITIZENS_AT_ONCE]
            ],
        )


async def submit_backlog(  # noqa: PLR0913 - who submits, to whom, and what comes meanwhile
    fixture: SinkFixture,
    simulator: str,
    workers: Sequence[Child],
    others: Mapping[str, int],
    *,
    batch: int,
    opt_outs: int,
) -> RateLimitRun:
    """Run ``workers`` on the backlog; ``others`` are ids of processes whose CPU is measured."""
    consents = await _count(fixture, _PENDING)
    while not _requests(simulator)["total"]:
        time.sleep(_SOON)  # noqa: ASYNC251 - nothing else runs here yet
    began, cpu_before = time.perf_counter(), _cpu(workers, others)
    submitted: list[tuple[str, str, float]] = []
    opting_out = asyncio.create_task(_opt_out(fixture, opt_outs, submitted))
    done: tuple[float, int] | None = None
    while True:
        await asyncio.sleep(_POLL_INTERVAL)
        if any(not child.is_alive for child in workers):
            raise RuntimeError(f"a worker ended; see {workers[0].command.log}")
        if await _count(fixture, _CLAIMABLE) or await _count(fixture, _UNSUBMITTED):
            continue
        done = done or (time.perf_counter() - began, _requests(simulator)["total"])
        opting_out.cancel()
        if not await _count(fixture, _IN_FLIGHT):
            break
    seconds = time.perf_counter() - began
    cpu = {
        name: (used - cpu_before[name]) / seconds for name, used in _cpu(workers, others).items()
    }
    found = _requests(simulator)
    register_ = await asyncio.to_thread(_statuses, simulator, {key for _, key, _ in submitted})
    accepted = await _count(fixture, _ITEMS, {"state": "accepted"})
    refused = await _count(fixture, _ITEMS, {"state": "refused"})
    operations = {name: one["total"] for name, one in found["operations"].items()}
    polls = operations.get("resultV2", 0) / max(operations.get("batchV2", 0), 1)
    settled = (accepted + refused) / seconds
    return RateLimitRun(
        consents=consents,
        seconds=seconds,
        submitting_seconds=done[0],
        calls=found["total"],
        submitting_calls=done[1],
        operations=operations,
        codes=dict(found["codes"]),
        accepted=accepted,
        refused=refused,
        polls_a_batch=polls,
        used=done[1] / done[0] / RATE,
        settled_a_second=settled,
        settled_of_possible=settled / (RATE / (1 + polls) * batch),
        throttled_in_100k=found["codes"].get("H124", 0) / found["total"] * 100_000,
        opt_outs=[
            OptOutLatency(state=state, seconds=after, registered=register_.get(key) == "RET")
            for state, key, after in submitted
        ],
        cpu=cpu,
    )


async def _opt_out(
    fixture: SinkFixture, count: int, submitted: list[tuple[str, str, float]]
) -> None:
    """Opt recipients out, in turn one whose consent İYS has and one whose result is pending.

    Records the state of the consent, its key, and the seconds until İYS accepted the opt-out.
    """
    while len(submitted) < count:
        await asyncio.sleep(_SOON * 50)
        state = ("accepted", "awaiting_result")[len(submitted) % 2]
        found = await fixture.ledger.fetch(_ONE_KEY, {"state": state})
        if not found:
            continue
        key = found[0]["key"]
        await fixture.opt_out(key, datetime.now(UTC).replace(microsecond=0))
        began = time.perf_counter()
        while not await _count(fixture, _ANSWERED, {"key": key}):
            if time.perf_counter() - began > _GIVE_UP:
                break
            await asyncio.sleep(_SOON)
        submitted.append((state, key, time.perf_counter() - began))


_PENDING: LiteralString = "SELECT count(*) AS number FROM consents WHERE state = 'pending'"
# By an index and its order, whatever the backlog: this query must not load the ledger.
_ONE: LiteralString = " ORDER BY brand_code, channel, desired_status, due_at LIMIT 1) AS one"
_ANY: LiteralString = "SELECT count(*) AS number FROM (SELECT 1 FROM consents WHERE state IN "
_CLAIMABLE: LiteralString = _ANY + "('pending', 'retryable') AND action = 'send'" + _ONE
_UNSUBMITTED: LiteralString = _ANY + "('pending', 'retryable') AND action <> 'rescue'" + _ONE
_IN_FLIGHT: LiteralString = _ANY + "('in_flight', 'awaiting_result', 'unknown')" + _ONE
_ITEMS: LiteralString = "SELECT count(*) AS number FROM submission_items WHERE state = %(state)s"
_ANSWERED: LiteralString = """SELECT count(*) AS number FROM submission_items AS i
JOIN submissions AS s ON s.id = i.submission_id
WHERE i.key = %(key)s AND i.status = 'RET' AND s.answered_at IS NOT NULL"""
_ONE_KEY: LiteralString = """SELECT key FROM submission_items AS i JOIN consents AS c USING (key)
WHERE c.state = %(state)s AND i.status = 'ONAY' AND c.recipient_type = 'BIREYSEL'
ORDER BY i.submission_id DESC, i.index LIMIT 1"""


async def _count(
    fixture: SinkFixture, query: LiteralString, values: Mapping[str, Any] | None = None
) -> int:
    (row,) = await fixture.ledger.fetch(query, values)
    return int(row["number"])


def _requests(simulator: str) -> dict[str, Any]:
    url = f"{simulator}/__simulator__/requests"
    counted: dict[str, Any] = httpx.get(url, timeout=60, trust_env=False).json()
    return counted


def _statuses(simulator: str, keys: set[str]) -> dict[str, str]:
    """Return the status of ``keys`` in İYS's register."""
    found = {}
    url = f"{simulator}/__simulator__/register"
    with httpx.stream("GET", url, timeout=300, trust_env=False) as lines:
        for line in lines.iter_lines():
            row = orjson.loads(line)
            key = f"{row['brandCode']}/{row['type']}/{row['recipientType']}/{row['recipient']}"
            if key in keys:
                found[key] = row["status"]
    return found


def _cpu(workers: Sequence[Child], others: Mapping[str, int]) -> dict[str, float]:
    used = {f"worker {number}": cpu_seconds(one.pid or 0) for number, one in enumerate(workers)}
    return used | {name: cpu_seconds(pid) for name, pid in others.items()}
