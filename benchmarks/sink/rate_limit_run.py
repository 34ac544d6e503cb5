"""A backlog told to the twin at İYS's own pace by sink processes, opt-outs coming in between."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any, LiteralString

import httpx
import orjson
import psycopg

from benchmarks.process_usage import cpu_seconds
from benchmarks.sink.fixture import BRANDS, moments
from benchmarks.sink.iys_account import register

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.sink.fixture import Filled
    from izin.local import Child

RATE = 10.0
"""What İYS takes from an address in a second."""
_ALL = 1_000_000_000
_CITIZENS = 5000
_TROUBLED = ("batchV2", "resultV2", "addV2")
_LOOK, _SOON = 0.5, 0.02
_GIVEN_UP = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What befalls the calls: shares of them, and seconds."""

    jitter: float
    refused: float
    """Of the items."""
    troubled: float
    """Of the calls: as many busy, failing and without an answer in time."""
    slower: float
    """How long a call without an answer in time takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    """An opt-out that came in between: of what, and after how long İYS was told of it."""

    of: str
    seconds: float
    registered: bool
    """Whether İYS's register ends with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pursuit:
    """What became of İYS's requests; seconds, and shares of what İYS allows."""

    consents: int
    seconds: float
    telling_seconds: float
    """Until nothing was left to tell; after it results alone are asked for."""
    calls: int
    telling_calls: int
    operations: dict[str, int]
    codes: dict[str, int]
    accepted: int
    refused: int
    queries_a_batch: float
    used: float
    """Of İYS's ten requests a second, while there was something to tell."""
    settled_a_second: float
    settled_of_possible: float
    """Of ten requests a second, a batch costing its own and its queries."""
    throttled_in_100k: float
    opt_outs: list[OptOut] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)
    """Cores used, by process."""


async def owe(url: str, consents: int, refused: float) -> None:
    """Have the ledger owe İYS so many consents of two brands."""
    statement = (resources.files("izin.bench") / "limit.sql").read_text("utf-8")
    every = round(1 / refused) if refused else _ALL
    said = moments()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for code in BRANDS:
            values = {"brand": code, "count": consents // len(BRANDS), "every": every} | said
            await connection.execute(statement.encode(), values)
        await connection.execute("VACUUM ANALYZE consents")


def set_up(twin: str, consents: int, weather: Weather, *, delay: float) -> None:
    """Give the twin our brands, İYS's limits, and what is to befall the calls."""
    with httpx.Client(base_url=f"{twin}/__simulator__", trust_env=False, timeout=120) as admin:

        def order(what: str, **fields: object) -> None:
            admin.post(f"/{what}", json=fields).raise_for_status()

        order("reset", everything=True)
        order(
            "settings",
            requestsPerSecond=int(RATE),
            requestWindow="sliding",
            tokenLimit=10,
            resultDelay=delay,
            requestJitter=weather.jitter,
        )
        register(order)
        for code in BRANDS:
            if weather.refused:
                _held(order, code, consents // len(BRANDS), round(1 / weather.refused))
        for fault in (
            {"status": 400, "code": "H123"},
            {"status": 503, "code": "H192"},
            {"slowSeconds": weather.slower},
        ):
            if weather.troubled:
                for operation in _TROUBLED:
                    share = weather.troubled / 3
                    order("weather", operation=operation, times=None, share=share, **fault)


def _held(order: Callable[..., None], code: int, count: int, every: int) -> None:
    """Have İYS hold a record of each merchant whom it is to refuse."""
    numbers = range(every, count + 1, every)
    for place in range(0, len(numbers), _CITIZENS):
        order(
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
                for number in numbers[place : place + _CITIZENS]
            ],
        )


async def pursue(  # noqa: PLR0913 - who tells, whom, and what comes in between
    ledger: Filled,
    twin: str,
    crews: Sequence[Child],
    others: Mapping[str, int],
    *,
    batch: int,
    opt_outs: int,
) -> Pursuit:
    """Let ``crews`` tell all that is owed; ``others`` are processes by name whose CPU is told."""
    consents = await _number(ledger, _OWED)
    while not _requests(twin)["total"]:
        time.sleep(_SOON)  # noqa: ASYNC251 - nothing else runs here yet
    began, at_first = time.perf_counter(), _cpu(crews, others)
    said: list[tuple[str, str, float]] = []
    people = asyncio.create_task(_say_no(ledger, opt_outs, said))
    told: tuple[float, int] | None = None
    while True:
        await asyncio.sleep(_LOOK)
        if any(not child.is_alive for child in crews):
            raise RuntimeError(f"a crew ended; see {crews[0].command.log}")
        if await _number(ledger, _CLAIMABLE) or await _number(ledger, _TO_TELL):
            continue
        told = told or (time.perf_counter() - began, _requests(twin)["total"])
        people.cancel()
        if not await _number(ledger, _UNDER_WAY):
            break
    seconds = time.perf_counter() - began
    cpu = {name: (used - at_first[name]) / seconds for name, used in _cpu(crews, others).items()}
    found = _requests(twin)
    held = await asyncio.to_thread(_statuses, twin, frozenset(key for _, key, _ in said))
    return _reckoned(
        consents,
        seconds,
        told,
        found,
        batch=batch,
        accepted=await _number(ledger, _ITEMS, {"state": "accepted"}),
        refused=await _number(ledger, _ITEMS, {"state": "refused"}),
        opt_outs=[
            OptOut(of=of, seconds=after, registered=held.get(key) == "RET")
            for of, key, after in said
        ],
        cpu=cpu,
    )


def _reckoned(  # noqa: PLR0913 - what was counted
    consents: int,
    seconds: float,
    told: tuple[float, int],
    found: Mapping[str, Any],
    *,
    batch: int,
    accepted: int,
    refused: int,
    opt_outs: list[OptOut],
    cpu: dict[str, float],
) -> Pursuit:
    operations = {name: one["total"] for name, one in found["operations"].items()}
    queries = operations.get("resultV2", 0) / max(operations.get("batchV2", 0), 1)
    settled = (accepted + refused) / seconds
    return Pursuit(
        consents=consents,
        seconds=seconds,
        telling_seconds=told[0],
        calls=found["total"],
        telling_calls=told[1],
        operations=operations,
        codes=dict(found["codes"]),
        accepted=accepted,
        refused=refused,
        queries_a_batch=queries,
        used=told[1] / told[0] / RATE,
        settled_a_second=settled,
        settled_of_possible=settled / (RATE / (1 + queries) * batch),
        throttled_in_100k=found["codes"].get("H124", 0) / found["total"] * 100_000,
        opt_outs=opt_outs,
        cpu=cpu,
    )


async def _say_no(ledger: Filled, count: int, said: list[tuple[str, str, float]]) -> None:
    """Have people say no, in turn one whose consent İYS has and one whose result is awaited; note
    of what, whose key, and after how many seconds İYS had been told.
    """
    while len(said) < count:
        await asyncio.sleep(_SOON * 50)
        of = ("accepted", "awaiting_result")[len(said) % 2]
        found = await ledger.ledger.fetch(_SOMEBODY, {"state": of})
        if not found:
            continue
        key = found[0]["key"]
        await ledger.say_no(key, datetime.now(UTC).replace(microsecond=0))
        began = time.perf_counter()
        while not await _number(ledger, _TOLD, {"key": key}):
            if time.perf_counter() - began > _GIVEN_UP:
                break
            await asyncio.sleep(_SOON)
        said.append((of, key, time.perf_counter() - began))


_OWED: LiteralString = "SELECT count(*) AS number FROM consents WHERE state = 'pending'"
# By an index and its order, whatever the backlog: looking must cost the ledger nothing.
_ONE: LiteralString = " ORDER BY brand_code, channel, desired_status, due_at LIMIT 1) AS one"
_ANY: LiteralString = "SELECT count(*) AS number FROM (SELECT 1 FROM consents WHERE state IN "
_CLAIMABLE: LiteralString = _ANY + "('pending', 'retryable') AND duty = 'send'" + _ONE
_TO_TELL: LiteralString = _ANY + "('pending', 'retryable') AND duty <> 'rescue'" + _ONE
_UNDER_WAY: LiteralString = _ANY + "('in_flight', 'awaiting_result', 'unknown')" + _ONE
_ITEMS: LiteralString = "SELECT count(*) AS number FROM submission_items WHERE state = %(state)s"
_TOLD: LiteralString = """SELECT count(*) AS number FROM submission_items AS i
JOIN submissions AS s ON s.id = i.submission_id
WHERE i.key = %(key)s AND i.status = 'RET' AND s.answered_at IS NOT NULL"""
_SOMEBODY: LiteralString = """SELECT key FROM submission_items AS i JOIN consents AS c USING (key)
WHERE c.state = %(state)s AND i.status = 'ONAY' AND c.recipient_type = 'BIREYSEL'
ORDER BY i.submission_id DESC, i.index LIMIT 1"""


async def _number(
    ledger: Filled, query: LiteralString, values: Mapping[str, Any] | None = None
) -> int:
    (row,) = await ledger.ledger.fetch(query, values)
    return int(row["number"])


def _requests(twin: str) -> dict[str, Any]:
    url = f"{twin}/__simulator__/requests"
    told: dict[str, Any] = httpx.get(url, timeout=60, trust_env=False).json()
    return told


def _statuses(twin: str, keys: frozenset[str]) -> dict[str, str]:
    """Return what İYS's register holds of ``keys``."""
    held = {}
    url = f"{twin}/__simulator__/register"
    with httpx.stream("GET", url, timeout=300, trust_env=False) as lines:
        for line in lines.iter_lines():
            row = orjson.loads(line)
            key = f"{row['brandCode']}/{row['type']}/{row['recipientType']}/{row['recipient']}"
            if key in keys:
                held[key] = row["status"]
    return held


def _cpu(crews: Sequence[Child], others: Mapping[str, int]) -> dict[str, float]:
    used = {f"crew {number}": cpu_seconds(child.pid or 0) for number, child in enumerate(crews)}
    return used | {name: cpu_seconds(pid) for name, pid in others.items()}
