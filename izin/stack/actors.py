"""Who acts in the demo: people who sign up, citizens who opt out at İYS, and a subscriber.

Signups are posted as web forms and mobile backends do, form or JSON; nothing is real. The same
seed, instant and brand give the same values. Phone numbers are in +90 555 1xx xx xx, so no signup
has the recipient of a row of the made-up CRM export.
"""

import asyncio
import json
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import urlencode

import httpx

from izin.kafka.access import KafkaAccess
from izin.subscribers import ChangeKind, OptedOut, subscribe

FORM_TYPE = "application/x-www-form-urlencoded"
JSON_TYPE = "application/json"

OPT_OUTS = 0.1
_TIMEOUT = 30.0


@dataclass(frozen=True, kw_only=True)
class Signup:
    """One request to the intake, and the status it states."""

    content_type: str
    body: bytes
    idempotency_key: str
    status: str


def signups(*, brand: int, now: datetime, seed: int = 2026, count: int = 200) -> list[Signup]:
    """Return ``count`` signups for ``brand``, forms and JSON in turn, each of another person."""
    chance = random.Random(f"{seed}/{now.isoformat()}/{count}")
    persons = chance.sample(range(1_000_000), count)
    return [
        (_form if number % 2 == 0 else _json)(chance, brand, person, now, number)
        for number, person in enumerate(persons)
    ]


def _form(chance: random.Random, brand: int, person: int, _now: datetime, number: int) -> Signup:
    status = _status(chance)
    by_mail = chance.random() < 0.5  # noqa: PLR2004  # half and half
    address = (
        {"email": f"uye.{person:06d}@example.com"} if by_mail else {"phone": f"05551{person:06d}"}
    )
    fields = {
        **address,
        "type": "E-POSTA" if by_mail else "SMS",
        "status": "EVET" if status == "ONAY" else "HAYIR",
        "source": "HS_WEB",
        "brand_code": str(brand),
    }
    return Signup(
        content_type=FORM_TYPE,
        body=urlencode(fields).encode(),
        idempotency_key=f"form-{number:04d}-{person:06d}",
        status=status,
    )


def _json(chance: random.Random, brand: int, person: int, now: datetime, number: int) -> Signup:
    status = _status(chance)
    at = now - timedelta(seconds=chance.randint(1, 120))
    reference = f"app-{number:04d}-{person:06d}"
    document = {
        "id": reference,
        "recipient": f"+905551{person:06d}",
        "type": chance.choice(("MESAJ", "ARAMA")),
        "status": status,
        "source": "HS_MOBIL",
        "consent_date": at.isoformat(timespec="seconds"),
        "brand_code": brand,
        "notice_version": "demo-1",
        "evidence": {"screen": "signup"},
    }
    return Signup(
        content_type=JSON_TYPE,
        body=json.dumps(document).encode(),
        idempotency_key=reference,
        status=status,
    )


def _status(chance: random.Random) -> str:
    return "RET" if chance.random() < OPT_OUTS else "ONAY"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterEntry:
    """A record of İYS's register, or a movement it accepted."""

    key: str
    """Spelt as our canonical key."""
    status: str
    consent_date: str
    path: str
    """``single``, ``batch`` or ``citizen``; empty for a record of the register."""
    occurred_at: int
    """Epoch milliseconds; 0 for a record of the register."""
    address: tuple[int, str, str, str]
    """(brand code, type, recipient type, recipient)."""


class SimulatorClient:
    """The simulator's admin API; a context manager."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(
            base_url=f"{url}/__simulator__", timeout=_TIMEOUT, trust_env=False
        )

    def register(self) -> Iterator[RegisterEntry]:
        """Yield every record that İYS holds."""
        return self._lines("/register")

    def movements(self) -> Iterator[RegisterEntry]:
        """Yield every movement that İYS accepted, in order."""
        return self._lines("/movements")

    def opt_out(self, entries: Sequence[RegisterEntry]) -> list[RegisterEntry]:
        """Opt these citizens out on İYS's web site, and return İYS's movements."""
        names = ("brandCode", "type", "recipientType", "recipient")
        asked = [
            {**dict(zip(names, entry.address, strict=True)), "status": "RET"} for entry in entries
        ]
        answer = self._http.post("/citizen", json=asked)
        answer.raise_for_status()
        return [_entry(row) for row in answer.json()["movements"]]

    def via_code(self) -> str:
        """Return the code that İYS sent last to somebody whom it asks for consent."""
        answer = self._http.get("/via").raise_for_status()
        return str(answer.json()["requests"][-1]["code"])

    def requests(self) -> dict[str, Any]:
        """Return counts of requests: ``total``, ``statuses``, ``codes``, ``operations``."""
        answer = self._http.get("/requests")
        answer.raise_for_status()
        counts: dict[str, Any] = answer.json()
        return counts

    def _lines(self, path: str) -> Iterator[RegisterEntry]:
        with self._http.stream("GET", path) as answer:
            answer.raise_for_status()
            yield from (_entry(json.loads(line)) for line in answer.iter_lines() if line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


def _entry(row: dict[str, Any]) -> RegisterEntry:
    address = (row["brandCode"], row["type"], row["recipientType"], row["recipient"])
    return RegisterEntry(
        key="/".join(map(str, address)),
        status=row["status"],
        consent_date=row.get("consentDate") or "",
        path=row.get("path", ""),
        occurred_at=row.get("occurredAt", 0),
        address=address,
    )


class Subscriber:
    """Receives opt-outs from now on, in a thread of its own; a context manager."""

    def __init__(self, access: KafkaAccess) -> None:
        self._received: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._following = self._loop.create_task(self._follow(access, datetime.now(UTC)))
        self._thread = threading.Thread(target=self._run, name="subscriber", daemon=True)

    @property
    def received(self) -> Mapping[str, int]:
        """By canonical key: when its first opt-out arrived here, epoch milliseconds."""
        return dict(self._received)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._following.cancel)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._following)

    async def _follow(self, access: KafkaAccess, since: datetime) -> None:
        changes = subscribe("izin-demo", [ChangeKind.OPT_OUTS], since=since, access=access)
        async with aclosing(changes):
            async for change in changes:
                if isinstance(change, OptedOut):
                    key = str(change.key)
                    self._received.setdefault(key, time.time_ns() // 1_000_000)
                await change.done()
