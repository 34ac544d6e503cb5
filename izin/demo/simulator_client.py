"""İYS's twin, as the demo uses it: citizens who reject, and the register as İYS holds it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A record of İYS's register, or a movement it accepted."""

    key: str
    """Spelt as our canonical key."""
    status: str
    consent_date: str
    came_by: str
    """``single``, ``batch`` or ``citizen``; empty for a register row."""
    occurred_at: int
    """Epoch milliseconds; 0 for a register row."""
    address: tuple[int, str, str, str]
    """(brand code, type, recipient type, recipient)."""


class Twin:
    """The simulator's admin API; a context manager."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(
            base_url=f"{url}/__simulator__", timeout=_TIMEOUT, trust_env=False
        )

    def register(self) -> Iterator[Held]:
        """Yield every record that İYS holds."""
        return self._lines("/register")

    def movements(self) -> Iterator[Held]:
        """Yield every movement that İYS accepted, in order."""
        return self._lines("/movements")

    def reject(self, held: Sequence[Held]) -> list[Held]:
        """Let these citizens reject on İYS's web site, and return what İYS noted."""
        asked = [
            {
                "brandCode": brand,
                "type": channel,
                "recipientType": recipient_type,
                "recipient": recipient,
                "status": "RET",
            }
            for brand, channel, recipient_type, recipient in (one.address for one in held)
        ]
        answer = self._http.post("/citizen", json=asked)
        answer.raise_for_status()
        return [_held(row) for row in answer.json()["movements"]]

    def requests(self) -> dict[str, Any]:
        """Return what was asked of İYS: ``total``, ``statuses``, ``codes``, ``operations``."""
        answer = self._http.get("/requests")
        answer.raise_for_status()
        counted: dict[str, Any] = answer.json()
        return counted

    def _lines(self, path: str) -> Iterator[Held]:
        with self._http.stream("GET", path) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                if line:
                    yield _held(json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()


def _held(row: dict[str, Any]) -> Held:
    address = (row["brandCode"], row["type"], row["recipientType"], row["recipient"])
    return Held(
        key="/".join(map(str, address)),
        status=row["status"],
        consent_date=row.get("consentDate") or "",
        came_by=row.get("path", ""),
        occurred_at=row.get("occurredAt", 0),
        address=address,
    )
