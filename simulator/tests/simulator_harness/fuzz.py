"""Schemathesis against the simulator: generated requests to each operation of the consent domain.

`make fuzz` (`python -m simulator_harness.fuzz`) sends many and prints a table; the suite sends a
few. Nothing may end in 500, and no response may be outside the description, except for the table of
deviations.
"""

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from rich.console import Console
from rich.table import Column, Table
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup, MalformedJson
from schemathesis.openapi.checks import (
    JsonSchemaError,
    MissingContentType,
    UndefinedStatusCode,
)
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from iys_simulator import SimulatorState
from simulator_harness.client import BRAND_CODE, IYS_CODE, a_brand
from simulator_harness.description import described, document, is_of_the_consent_domain
from simulator_harness.deviations import EMPTY, SCHEMAS, deviation_of_status
from simulator_harness.live import listening, new_state

RETAILER = 10_000_003
_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
_KNOWN = {"iysCode": IYS_CODE, "brandCode": BRAND_CODE, "retailerCode": RETAILER}
_PLACE = re.compile(r"Schema at (\S+):")


@dataclass(kw_only=True)
class Finding:
    """The result of the generated requests to one operation."""

    operation: str
    statuses: Counter[int] = field(default_factory=Counter)
    deviations: Counter[str] = field(default_factory=Counter)
    objections: list[str] = field(default_factory=list)


def fuzzed_state() -> SimulatorState:
    """Return a simulator without limits, with a brand that has a retailer."""
    state = new_state()
    state.settings = state.settings.changed({"status_limit": 0, "history_limit": 0})
    state.directory.add_brand(a_brand(retailers=frozenset({RETAILER})))
    return state


def findings(url: str, examples: int, only: str | None = None) -> Iterator[Finding]:
    """Send `examples` requests to each operation of the simulator at `url`, valid and invalid.

    `only` names a single operation.
    """
    right = {"username": "api@example.com", "password": "fake", "grant_type": "password"}
    token = httpx.post(f"{url}/oauth2/token", json=right).raise_for_status().json()["access_token"]
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {token}"
        for result in schemathesis.openapi.from_dict(document()).get_all_operations():
            operation = result.ok()
            name = f"{operation.method.upper()} {operation.path}"
            if name not in described() or only not in (None, name):
                continue
            if is_of_the_consent_domain(described()[name]):
                yield _finding(name, operation, url, session, examples)


def _finding(
    name: str,
    operation: schemathesis.APIOperation,
    url: str,
    session: requests.Session,
    examples: int,
) -> Finding:
    finding = Finding(operation=name)
    modes = st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    cases = modes.flatmap(lambda mode: operation.as_strategy(generation_mode=mode))

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, is_lost=st.integers(0, 9))
    def run(case: schemathesis.Case, is_lost: int) -> None:
        # Most requests reach the brand: unknown codes are all refused in the same way.
        for parameter, value in _KNOWN.items() if is_lost else ():
            if parameter in (case.path_parameters or {}):
                case.path_parameters[parameter] = value
        answer = case.call(base_url=url, session=session)
        finding.statuses[answer.status_code] += 1
        try:
            case.validate_response(answer, checks=_CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                _judge(finding, answer.status_code, failure)

    run()
    return finding


def _judge(finding: Finding, status: int, failure: Failure) -> None:
    deviation = _deviation(finding.operation, status, failure)
    if deviation:
        finding.deviations[deviation] += 1
    else:
        finding.objections.append(f"{status} {type(failure).__name__}: {str(failure)[:400]}")


def _deviation(operation: str, status: int, failure: Failure) -> str | None:
    match failure:
        case MissingContentType() | MalformedJson() if status in EMPTY:
            return f"{status} empty"
        case UndefinedStatusCode():
            return deviation_of_status(operation, status)
        case JsonSchemaError():
            place = _PLACE.search(str(failure))
            where = place[1].removeprefix("/components/schemas/") if place else operation
            names = (f"{status} {where}", f"{status} {where} of {operation}")
            return next((name for name in names if name in SCHEMAS), None)
        case _:
            return None


def main() -> int:
    """Run it and print a line for each operation; return 1 where a response is undocumented."""
    parser = argparse.ArgumentParser(prog="python -m simulator_harness.fuzz")
    parser.add_argument("--examples", type=int, default=100, help="requests an operation")
    examples = parser.parse_args().examples
    table = Table(Column("operation", overflow="fold"), "answers", "deviations", "objections")
    begun, found = time.monotonic(), []
    with listening(fuzzed_state()) as url:
        for finding in findings(url, examples):
            found.append(finding)
            answers = ", ".join(f"{count} × {it}" for it, count in sorted(finding.statuses.items()))
            deviations = ", ".join(sorted(finding.deviations))
            table.add_row(
                finding.operation, answers, deviations, str(len(finding.objections) or "")
            )
    console = Console()
    console.print(table)
    objections = [f"{one.operation}: {text}" for one in found for text in one.objections]
    for objection in objections:
        console.print(objection, markup=False, highlight=False)
    sent = sum(one.statuses.total() for one in found)
    seconds = time.monotonic() - begun
    console.print(
        f"{sent} requests to {len(found)} operations in {seconds:.0f} s: "
        f"{len(objections)} objections"
    )
    return 1 if objections else 0


if __name__ == "__main__":
    sys.exit(main())
