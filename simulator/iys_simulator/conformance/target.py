"""What cases run against: a base URL, with the simulator's admin API or with credentials."""

import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

import httpx

from iys_simulator.clock import TURKEY, wire_text
from iys_simulator.conformance.builders import define_account, define_brand, define_partner
from iys_simulator.conformance.case import ADMIN, NO_BODY, Caller, Step, filled, value_at

_DAY = 86400
_RECIPIENTS = 10_000_000
_CLOCK = f"{ADMIN}clock"
_UNLIMITED: Mapping[str, object] = {
    "requestsPerSecond": 0,
    "tokenLimit": 0,
    "statusLimit": 0,
    "historyLimit": 0,
    "qualityRequests": 0,
}


class UnreachableError(Exception):
    """The base URL does not respond; the message names the problem."""


class SetupError(Exception):
    """A setup request failed; the message names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """The account for a base URL without the admin API."""

    username: str
    password: str = field(repr=False)
    iys_code: int
    brand_code: int


@dataclass(kw_only=True, slots=True)
class Fixture:
    """An account with a brand: the values of its `$names`, and its tokens."""

    values: dict[str, object]
    tokens: dict[Caller, str] = field(default_factory=dict)


class Target:
    """What `http` is connected to. `settings` are None where there is no admin API."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        random: Random,
        credentials: Credentials | None,
        settings: dict[str, object] | None,
    ) -> None:
        self.http = http
        self.settings = settings
        self.credentials = credentials
        self._random = random
        self._recipients = random.randrange(_RECIPIENTS)

    @classmethod
    async def connect(
        cls, http: httpx.AsyncClient, *, random: Random, credentials: Credentials | None
    ) -> "Target":
        """Return the target at the base URL of `http`.

        Raises:
            UnreachableError: nothing responds.
        """
        try:
            response = await http.get(f"{ADMIN}settings")
        except httpx.HTTPError as problem:
            raise UnreachableError(f"{type(problem).__name__}: {problem}") from None
        is_ours = response.is_success and "json" in response.headers.get("content-type", "")
        settings = response.json() if is_ours else None
        return cls(http, random=random, credentials=credentials, settings=settings)

    async def disable_limits(self) -> None:
        """Restore the simulator's settings, but without limits."""
        if self.settings is not None:
            unlimited = {name: it for name, it in _UNLIMITED.items() if name in self.settings}
            await self.admin("settings", {**self.settings, **unlimited})

    async def restore(self) -> None:
        """Restore the simulator's settings."""
        if self.settings is not None:
            await self.admin("settings", self.settings)

    async def undo(self, paths: set[str]) -> None:
        """Undo what requests to these admin paths changed for all cases, except the time."""
        if f"{ADMIN}settings" in paths:
            await self.disable_limits()
        if f"{ADMIN}faults" in paths:
            await self._admin("DELETE", "faults")
        if _CLOCK in paths:
            await self.admin("clock", {"speed": 1})

    async def new_fixture(self) -> Fixture:
        """Return an account with a brand: new ones, or those of the credentials."""
        if self.settings is None:
            return Fixture(values=self._given_values())
        code = _RECIPIENTS + 10 * self._random.randrange(1_000_000)
        fixture = Fixture(
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
        for step in (define_account(), define_partner(), define_brand()):
            await self.run_step(step, fixture, fixture.values)
        return fixture

    async def fresh_values(self) -> dict[str, object]:
        """Return recipients that no case has used, and the current instants."""
        now = await self._now()
        instants = {"now": 0, "minuteAgo": 60, "yesterday": _DAY, "monthAgo": 30 * _DAY}
        return {
            **{name: wire_text(now - ago) for name, ago in instants.items()},
            "tomorrow": wire_text(now + _DAY),
            "today": wire_text(now)[:10],
            "phone": f"+90555{self._next_recipient():07}",
            "otherPhone": f"+90555{self._next_recipient():07}",
            "email": f"alici-{self._next_recipient():07}@example.com",
        }

    async def run_step(self, step: Step, fixture: Fixture, values: dict[str, object]) -> None:
        """Send the request of `step` and save its values in `values`.

        Raises:
            SetupError: it fails and may not.
        """
        caller = Caller.NOBODY if step.uses_admin_api else step.caller
        response = await self.send(
            step.method,
            str(filled(step.path, values)),
            filled(step.body, values),
            headers=await self.headers(caller, fixture),
        )
        if not (response.is_success or step.may_fail):
            raise SetupError(f"setup: {step.method} {step.path}: {response.status_code}")
        if step.path == _CLOCK and isinstance(step.body, dict) and "advance" in step.body:
            fixture.tokens.clear()  # tokens expire by the simulator's time
        content = content_of(response)
        values.update({name: value_at(content, path) for name, path in step.saves.items()})

    async def send(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        path: str,
        body: object,
        *,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
        is_form: bool = False,
    ) -> httpx.Response:
        """Send a request; `body` is JSON, a form, bytes as they are, or nothing."""
        content, data, json = None, None, None
        match body:
            case _ if body is NO_BODY:
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

    async def headers(self, caller: Caller, fixture: Fixture) -> dict[str, str]:
        """Return the headers of a request by `caller`; get a token where there is none."""
        match caller:
            case Caller.NOBODY:
                return {}
            case Caller.GARBAGE:
                return {"Authorization": "Bearer not.a.token"}
            case Caller.BASIC:
                return {"Authorization": _basic("nobody", "fake")}
            case Caller.EMPTY_BASIC:
                return {"Authorization": _basic("", "")}
            case Caller.PROVIDER | Caller.PARTNER:
                if caller not in fixture.tokens:
                    fixture.tokens[caller] = await self._token(caller, fixture)
                return {"Authorization": f"Bearer {fixture.tokens[caller]}"}

    async def admin(self, path: str, body: object) -> None:
        """Change something through the admin API.

        Raises:
            UnreachableError: the simulator does not respond any more.
            SetupError: the change is refused.
        """
        await self._admin("POST", path, body)

    async def _admin(self, method: str, path: str, body: object = None) -> None:
        try:
            response = await self.http.request(method, f"{ADMIN}{path}", json=body)
        except httpx.HTTPError as problem:
            raise UnreachableError(f"does not respond any more: {type(problem).__name__}") from None
        if not response.is_success:
            raise SetupError(f"{ADMIN}{path}: {response.status_code} {response.text}")

    def _given_values(self) -> dict[str, object]:
        credentials = self.credentials
        if credentials is None:
            raise SetupError("no credentials for a base URL without the admin API")
        return {
            "iysCode": credentials.iys_code,
            "brandCode": credentials.brand_code,
            "username": credentials.username,
            "password": credentials.password,
        }

    async def _now(self) -> int:
        if self.settings is None:
            return int(time.time())
        now = (await self.http.get(_CLOCK)).json()["nowTurkey"]
        return int(datetime.fromisoformat(now).replace(tzinfo=TURKEY).timestamp())

    def _next_recipient(self) -> int:
        self._recipients = (self._recipients + 1) % _RECIPIENTS
        return self._recipients

    async def _token(self, caller: Caller, fixture: Fixture) -> str:
        name = "username" if caller is Caller.PROVIDER else "partnerName"
        credentials = {
            "username": fixture.values[name],
            "password": fixture.values["password"],
            "grant_type": "password",
        }
        response = await self.http.post("/oauth2/token", json=credentials)
        if not response.is_success:
            raise SetupError(f"no token for the {caller}: {response.status_code}")
        return str(response.json()["access_token"])


def _basic(username: str, password: str) -> str:
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()


def content_of(response: httpx.Response) -> object:
    """Return a response's JSON, or its text where it is no JSON."""
    try:
        return response.json()
    except ValueError:
        return response.text
