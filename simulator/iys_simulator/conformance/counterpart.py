"""What cases are run against: a base URL, with the twin's admin API or with given credentials."""

import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

import httpx

from iys_simulator.clock import TURKEY, wire_text
from iys_simulator.conformance.case import ADMIN, NOTHING, Speaker, Step, filled, found
from iys_simulator.conformance.wording import account, brand, partner

_DAY = 86400
_ADDRESSES = 10_000_000
_CLOCK = f"{ADMIN}clock"
_UNLIMITED: Mapping[str, object] = {
    "requestsPerSecond": 0,
    "tokenLimit": 0,
    "statusLimit": 0,
    "historyLimit": 0,
    "qualityRequests": 0,
}


class UnreachedError(Exception):
    """Nobody answers at the base URL; the message names the problem."""


class SetUpError(Exception):
    """A step before the request did not do; the message names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """Who speaks at a base URL that has no admin API."""

    username: str
    password: str = field(repr=False)
    iys_code: int
    brand_code: int


@dataclass(kw_only=True, slots=True)
class Stage:
    """An account with a brand: what its names stand for, and the tokens taken for it."""

    values: dict[str, object]
    tokens: dict[Speaker, str] = field(default_factory=dict)


class Counterpart:
    """What `http` speaks to. `settings` are the twin's, None where there is no admin API."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        chance: Random,
        credentials: Credentials | None,
        settings: dict[str, object] | None,
    ) -> None:
        self.http = http
        self.settings = settings
        self.credentials = credentials
        self._chance = chance
        self._addresses = chance.randrange(_ADDRESSES)

    @classmethod
    async def at(
        cls, http: httpx.AsyncClient, *, chance: Random, credentials: Credentials | None
    ) -> "Counterpart":
        """Find out who is there; `UnreachedError` if nobody is."""
        try:
            answer = await http.get(f"{ADMIN}settings")
        except httpx.HTTPError as problem:
            raise UnreachedError(f"{type(problem).__name__}: {problem}") from None
        is_ours = answer.is_success and "json" in answer.headers.get("content-type", "")
        settings = answer.json() if is_ours else None
        return cls(http, chance=chance, credentials=credentials, settings=settings)

    async def lift_limits(self) -> None:
        """Put the twin's settings to what they were, but without limits."""
        if self.settings is not None:
            unlimited = {name: it for name, it in _UNLIMITED.items() if name in self.settings}
            await self.admin("settings", {**self.settings, **unlimited})

    async def restore(self) -> None:
        """Put the twin's settings to what they were."""
        if self.settings is not None:
            await self.admin("settings", self.settings)

    async def tidy(self, paths: set[str]) -> None:
        """Undo what steps to these admin paths changed for everybody, but for moved time."""
        if f"{ADMIN}settings" in paths:
            await self.lift_limits()
        if f"{ADMIN}weather" in paths:
            await self._admin("DELETE", "weather")
        if _CLOCK in paths:
            await self.admin("clock", {"speed": 1})

    async def new_stage(self) -> Stage:
        """Give an account with a brand: new ones, or those of the credentials."""
        if self.settings is None:
            return Stage(values=self._given_values())
        code = _ADDRESSES + 10 * self._chance.randrange(1_000_000)
        stage = Stage(
            values={
                "iysCode": code,
                "brandCode": code + 1,
                "integratorCode": code + 2,
                "username": f"api-{code}@example.com",
                "partnerName": f"partner-{code}@example.com",
                "password": "fake",
                "retailer": code + 3,
            }
        )
        for step in (account(), partner(), brand()):
            await self.take(step, stage, stage.values)
        return stage

    async def fresh_values(self) -> dict[str, object]:
        """Give addresses no case has used, and the instants of now."""
        now = await self._now()
        instants = {"now": 0, "minuteAgo": 60, "yesterday": _DAY, "monthAgo": 30 * _DAY}
        return {
            **{name: wire_text(now - ago) for name, ago in instants.items()},
            "tomorrow": wire_text(now + _DAY),
            "today": wire_text(now)[:10],
            "phone": f"+90555{self._next_address():07}",
            "otherPhone": f"+90555{self._next_address():07}",
            "email": f"alici-{self._next_address():07}@example.com",
        }

    async def take(self, step: Step, stage: Stage, values: dict[str, object]) -> None:
        """Do `step`, and keep in `values` what it keeps; `SetUpError` if it fails and may not."""
        speaker = Speaker.NOBODY if step.is_for_the_twin else step.speaker
        answer = await self.send(
            step.method,
            str(filled(step.path, values)),
            filled(step.body, values),
            headers=await self.headers(speaker, stage),
        )
        if not (answer.is_success or step.may_fail):
            raise SetUpError(f"set-up: {step.method} {step.path}: {answer.status_code}")
        if step.path == _CLOCK and isinstance(step.body, dict) and "advance" in step.body:
            stage.tokens.clear()  # they live by the twin's time
        content = content_of(answer)
        values.update({name: found(content, path) for name, path in step.keeps.items()})

    async def send(  # noqa: PLR0913 - so many parts a request has
        self,
        method: str,
        path: str,
        body: object,
        *,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
        is_form: bool = False,
    ) -> httpx.Response:
        """Send a request; `body` is JSON, a form, a text as it is, or nothing."""
        content, data, json = None, None, None
        match body:
            case _ if body is NOTHING:
                pass
            case dict() if is_form:
                data = body
            case bytes():
                content = body
                headers = {**headers, "Content-Type": "application/json"}
            case _:
                json = body
        return await self.http.request(
            method, path, params=query, headers=headers, content=content, data=data, json=json
        )

    async def headers(self, speaker: Speaker, stage: Stage) -> dict[str, str]:
        """Give the headers of a request by `speaker`; a token is taken where there is none."""
        match speaker:
            case Speaker.NOBODY:
                return {}
            case Speaker.GARBAGE:
                return {"Authorization": "Bearer not.a.token"}
            case Speaker.BASIC:
                return {"Authorization": _basic("nobody", "fake")}
            case Speaker.EMPTY_BASIC:
                return {"Authorization": _basic("", "")}
            case Speaker.PROVIDER | Speaker.PARTNER:
                if speaker not in stage.tokens:
                    stage.tokens[speaker] = await self._token(speaker, stage)
                return {"Authorization": f"Bearer {stage.tokens[speaker]}"}

    async def admin(self, what: str, body: object) -> None:
        """Change something through the admin API; `UnreachedError` if it has gone."""
        await self._admin("POST", what, body)

    async def _admin(self, method: str, what: str, body: object = None) -> None:
        try:
            answer = await self.http.request(method, f"{ADMIN}{what}", json=body)
        except httpx.HTTPError as problem:
            raise UnreachedError(f"gone meanwhile: {type(problem).__name__}") from None
        if not answer.is_success:
            raise SetUpError(f"{ADMIN}{what}: {answer.status_code} {answer.text}")

    def _given_values(self) -> dict[str, object]:
        given = self.credentials
        if given is None:
            raise SetUpError("no credentials for a base URL without the admin API")
        return {
            "iysCode": given.iys_code,
            "brandCode": given.brand_code,
            "username": given.username,
            "password": given.password,
        }

    async def _now(self) -> int:
        if self.settings is None:
            return int(time.time())
        told = (await self.http.get(_CLOCK)).json()["nowTurkey"]
        return int(datetime.fromisoformat(told).replace(tzinfo=TURKEY).timestamp())

    def _next_address(self) -> int:
        self._addresses = (self._addresses + 1) % _ADDRESSES
        return self._addresses

    async def _token(self, speaker: Speaker, stage: Stage) -> str:
        name = "username" if speaker is Speaker.PROVIDER else "partnerName"
        right = {
            "username": stage.values[name],
            "password": stage.values["password"],
            "grant_type": "password",
        }
        answer = await self.http.post("/oauth2/token", json=right)
        if not answer.is_success:
            raise SetUpError(f"no token for the {speaker}: {answer.status_code}")
        return str(answer.json()["access_token"])


def _basic(username: str, password: str) -> str:
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()


def content_of(answer: httpx.Response) -> object:
    """Give an answer's JSON, or its text where it is none."""
    try:
        return answer.json()
    except ValueError:
        return answer.text
