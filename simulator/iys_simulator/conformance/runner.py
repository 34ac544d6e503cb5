"""Runs cases against a base URL, one after another.

Where the base URL has the simulator's admin API, cases get accounts and brands of their own, limits
are off except in the cases about them, and settings are restored at the end; the clock is not.
Elsewhere the given credentials are used, and cases that need the admin API are skipped with the
reason. Recipients are made up; what is saved is not deleted.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

import httpx

from iys_simulator.conformance.case import ADMIN, Case, filled
from iys_simulator.conformance.comparison import mismatch
from iys_simulator.conformance.target import Fixture, SetupError, Target, content_of

_CLOCK = f"{ADMIN}clock"


class Outcome(StrEnum):
    """The outcome of a case."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """A case, its outcome and the reason; with the response where there was one."""

    case: Case
    outcome: Outcome
    reason: str = ""
    status: int | None = None
    content: object = None


class Runner:
    """Runs cases against `target`; `receiver_url` is a push address that it can reach."""

    def __init__(self, target: Target, *, receiver_url: str | None = None) -> None:
        self._target = target
        self._receiver_url = receiver_url
        self._fixture: Fixture | None = None

    async def run(
        self, cases: Iterable[Case], on_result: Callable[[Result], None] = lambda _: None
    ) -> list[Result]:
        """Run `cases` in order and return their results; `on_result` gets each at once.

        Raises:
            UnreachableError: the simulator does not respond any more.
            SetupError: its settings cannot be changed.
        """
        results = []
        try:
            await self._target.disable_limits()
            for case in cases:
                result = await self._result(case)
                on_result(result)
                results.append(result)
        finally:
            await self._target.restore()
        return results

    async def _result(self, case: Case) -> Result:
        if reason := self._reason_to_skip(case):
            return Result(case=case, outcome=Outcome.SKIPPED, reason=reason)
        touched = {step.path for step in case.setup if step.uses_admin_api}
        if case.is_isolated:
            self._fixture = None
        try:
            return await self._run(case)
        except SetupError as problem:
            return Result(case=case, outcome=Outcome.FAILED, reason=str(problem))
        except httpx.HTTPError as problem:
            reason = f"no response: {type(problem).__name__}"
            return Result(case=case, outcome=Outcome.FAILED, reason=reason)
        finally:
            if case.is_isolated or _CLOCK in touched:
                self._fixture = None
            await self._target.undo(touched)

    def _reason_to_skip(self, case: Case) -> str:
        if case.needs_receiver and self._receiver_url is None:
            return "needs a push address that the base URL can reach"
        if self._target.settings is not None:
            return ""
        if case.needs_partner:
            return "needs a business partner's account"
        if case.needs_admin_api:
            return "needs the simulator's admin API"
        if case.needs_retailer:
            return "needs a retailer of the brand"
        return "" if self._target.credentials else "needs credentials of the base URL"

    async def _run(self, case: Case) -> Result:
        target = self._target
        fixture = self._fixture = self._fixture or await target.new_fixture()
        receiver = {"receiver": self._receiver_url or ""}
        values = {**fixture.values, **await target.fresh_values(), **receiver}
        for step in case.setup:
            await target.run_step(step, fixture, values)
        response = await target.send(
            case.endpoint.method,
            _path(case, values),
            filled(case.body, values),
            headers=await target.headers(case.caller, fixture),
            query={name: str(filled(value, values)) for name, value in case.query.items()},
            is_form=case.is_form,
        )
        content = content_of(response)
        reason = mismatch(case.expected.filled(values), response.status_code, content)
        return Result(
            case=case,
            outcome=Outcome.FAILED if reason else Outcome.PASSED,
            reason=reason,
            status=response.status_code,
            content=content,
        )


def _path(case: Case, values: dict[str, object]) -> str:
    path = case.endpoint.path
    names = {name: f"${name}" for name in ("iysCode", "brandCode", "integratorCode")}
    for name, value in {**names, **case.path_params}.items():
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", str(filled(value, values)))
    return path
