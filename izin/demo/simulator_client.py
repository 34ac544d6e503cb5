"""A client of the simulator: citizens who opt out at İYS, and the register as İYS holds it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx

_TIMEOUT = 30.0


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
        asked = [{**dict(zip(names, one.address, strict=True)), "status": "RET"} for one in entries]
        answer = self._http.post("/citizen", json=asked)
        answer.raise_for_status()
        return [_entry(row) for row in answer.json()["movements"]]

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
