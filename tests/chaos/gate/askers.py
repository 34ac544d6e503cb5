"""Senders that ask a gate all the time, and keep what it says."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

import httpx

from izin.schemas.consistency_token import token_of
from tests.chaos.gate.traffic import PublishedEvent
from tests.support.api_keys import AUTHORIZATION
from tests.support.builders import BRAND

_TIMEOUT = 3.0
_PAUSE = 0.04
_AT_ONCE = 10
"""Recipients of a question; half of them have opted out a short time ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenYes:
    """A yes to a commercial message; instants in seconds since 1970."""

    gate: str
    key: str
    asked_at: float
    answered_at: float
    token: PublishedEvent | None = None
    """The opt-out whose token the question had."""


class Answer(NamedTuple):
    """What a gate says of a key."""

    may_send: bool
    reason: str


@dataclass(slots=True, kw_only=True)
class Asker:
    """Asks one gate about `keys`.

    `permitted` gets the keys that it says yes to, and loses the others.
    """

    gate: str
    url: str
    keys: Sequence[str]
    permitted: set[str]
    random: Random
    yes: list[GivenYes] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    """Questions without an answer, by what came instead."""
    opt_outs: asyncio.Queue[PublishedEvent] = field(default_factory=asyncio.Queue)
    """Those to ask about at once, with their tokens."""
    with_token: int = 0
    """Answers to questions with a token."""
    is_over: bool = False
    _recent: deque[str] = field(default_factory=lambda: deque(maxlen=4 * _AT_ONCE))

    async def run(self) -> None:
        """Ask until `is_over`."""
        async with self._client() as http, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ask_anybody(http))
            tasks.create_task(self._ask_after_opt_outs(http))

    async def ask_all(self) -> dict[str, Answer]:
        """Return what the gate says of every key now; empty where it does not answer."""
        async with self._client() as http:
            return await self._ask(http, self.keys)

    async def _ask_anybody(self, http: httpx.AsyncClient) -> None:
        while not self.is_over:
            chosen = self.random.sample(self.keys, min(len(self.keys), _AT_ONCE // 2))
            recent = list(self._recent)
            chosen += self.random.sample(recent, min(len(recent), _AT_ONCE - len(chosen)))
            await self._ask(http, chosen[: self.random.choice((1, _AT_ONCE))])
            await asyncio.sleep(_PAUSE)

    async def _ask_after_opt_outs(self, http: httpx.AsyncClient) -> None:
        while not self.is_over:
            with suppress(TimeoutError):
                opt_out = await asyncio.wait_for(self.opt_outs.get(), _PAUSE)
                self._recent.append(opt_out.key)
                await self._ask(http, [opt_out.key], opt_out)

    async def _ask(
        self, http: httpx.AsyncClient, keys: Collection[str], token: PublishedEvent | None = None
    ) -> dict[str, Answer]:
        by_recipient = {key.rpartition("/")[2]: key for key in keys}
        question: dict[str, object] = {
            "brand_code": BRAND,
            "type": "MESAJ",
            "recipients": list(by_recipient),
        }
        if token is not None and token.position is not None:
            question["at_least"] = token_of([token.position])
        asked_at = time.time()
        try:
            response = await http.post("/v1/may-send", json=question)
        except httpx.HTTPError as error:
            self.failures[type(error).__name__] += 1
            return {}
        answered_at = time.time()
        if not response.is_success:
            self.failures[f"status {response.status_code}"] += 1
            return {}
        self.with_token += token is not None
        found = {}
        for one in response.json()["verdicts"]:
            key = by_recipient[one["recipient"]]
            found[key] = Answer(one["may_send"], one["reason"])
            self.reasons[one["reason"]] += 1
            if not one["may_send"]:
                self.permitted.discard(key)
                continue
            self.permitted.add(key)
            self.yes.append(
                GivenYes(
                    gate=self.gate,
                    key=key,
                    asked_at=asked_at,
                    answered_at=answered_at,
                    token=token,
                )
            )
        return found

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url, headers=AUTHORIZATION, timeout=_TIMEOUT, trust_env=False
        )
