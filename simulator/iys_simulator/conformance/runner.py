"""Runs cases against a base URL, one after another.

Where the base URL has the twin's admin API, cases get accounts and brands of their own, limits are
off but in the cases about them, and settings are put back at the end; time that was moved stays
moved. Elsewhere the given credentials are used, and what needs the admin API is skipped with the
reason. Addresses are made up; what is saved is saved for good.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

import httpx

from iys_simulator.conformance.case import ADMIN, Case, filled
from iys_simulator.conformance.counterpart import Counterpart, SetUpError, Stage, content_of
from iys_simulator.conformance.judgement import objection

_CLOCK = f"{ADMIN}clock"


class Outcome(StrEnum):
    """What became of a case."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """A case, what became of it, and why; with the answer where there was one."""

    case: Case
    outcome: Outcome
    why: str = ""
    status: int | None = None
    content: object = None


class Runner:
    """Runs cases against `counterpart`; `receiver_url` is a push address it can reach."""

    def __init__(self, counterpart: Counterpart, *, receiver_url: str | None = None) -> None:
        self._counterpart = counterpart
        self._receiver_url = receiver_url
        self._stage: Stage | None = None

    async def run(
        self, cases: Iterable[Case], note: Callable[[Result], None] = lambda _: None
    ) -> list[Result]:
        """Run `cases` in order and give their results; `note` hears each as it comes.

        `UnreachedError` if the twin is gone meanwhile; `SetUpError` if its settings cannot be had.
        """
        results = []
        try:
            await self._counterpart.lift_limits()
            for case in cases:
                result = await self._result(case)
                note(result)
                results.append(result)
        finally:
            await self._counterpart.restore()
        return results

    async def _result(self, case: Case) -> Result:
        if reason := self._reason_to_skip(case):
            return Result(case=case, outcome=Outcome.SKIPPED, why=reason)
        touched = {step.path for step in case.given if step.is_for_the_twin}
        if case.is_apart:
            self._stage = None
        try:
            return await self._tried(case)
        except SetUpError as problem:
            return Result(case=case, outcome=Outcome.FAILED, why=str(problem))
        except httpx.HTTPError as problem:
            why = f"no answer: {type(problem).__name__}"
            return Result(case=case, outcome=Outcome.FAILED, why=why)
        finally:
            if case.is_apart or _CLOCK in touched:
                self._stage = None
            await self._counterpart.tidy(touched)

    def _reason_to_skip(self, case: Case) -> str:
        if case.needs_receiver and self._receiver_url is None:
            return "needs a push address that the base URL can reach"
        if self._counterpart.settings is not None:
            return ""
        if case.needs_partner:
            return "needs a business partner's account"
        if case.needs_twin:
            return "needs the twin's admin API to be set up"
        if case.needs_retailer:
            return "needs a retailer of the brand"
        return "" if self._counterpart.credentials else "needs credentials of the base URL"

    async def _tried(self, case: Case) -> Result:
        counterpart = self._counterpart
        stage = self._stage = self._stage or await counterpart.new_stage()
        receiver = {"receiver": self._receiver_url or ""}
        values = {**stage.values, **await counterpart.fresh_values(), **receiver}
        for step in case.given:
            await counterpart.take(step, stage, values)
        answer = await counterpart.send(
            case.operation.method,
            _path(case, values),
            filled(case.body, values),
            headers=await counterpart.headers(case.speaker, stage),
            query={name: str(filled(value, values)) for name, value in case.query.items()},
            is_form=case.is_form,
        )
        content = content_of(answer)
        why = objection(case.expected.filled(values), answer.status_code, content)
        return Result(
            case=case,
            outcome=Outcome.FAILED if why else Outcome.PASSED,
            why=why,
            status=answer.status_code,
            content=content,
        )


def _path(case: Case, values: dict[str, object]) -> str:
    path = case.operation.path
    names = {name: f"${name}" for name in ("iysCode", "brandCode", "integratorCode")}
    for name, value in {**names, **case.at}.items():
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", str(filled(value, values)))
    return path
