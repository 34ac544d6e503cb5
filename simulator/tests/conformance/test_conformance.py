"""The conformance table: the simulator passes it, and a deviation would be reported."""

import asyncio
import json
import re
from random import Random

import httpx
import pytest

from iys_simulator import Settings, SimulatorState, build_app
from iys_simulator.conformance import (
    Case,
    Credentials,
    Expected,
    Outcome,
    Result,
    Runner,
    Step,
    Target,
    UnreachableError,
    all_cases,
    endpoints,
    push_receiver,
)
from iys_simulator.conformance.builders import inject_fault, refusal, success
from iys_simulator.conformance.case import filled
from iys_simulator.conformance.comparison import mismatch
from iys_simulator.conformance.report import codes_shown
from simulator_harness.description import (
    DESCRIPTION,
    described,
    examples_of,
    is_of_the_consent_domain,
)
from simulator_harness.deviations import EXAMPLES, KEYS, STATUSES, deviation_of_status
from simulator_harness.shapes import keys_of, shape_of, strangers_to

CREDENTIALS = Credentials(
    username="api@example.com", password="fake", iys_code=660001, brand_code=660101
)
BRANDS = endpoints.BRANDS


async def asked(state: SimulatorState, *cases: Case):
    """Return the results of `cases` against the simulator."""
    transport = httpx.ASGITransport(build_app(state))
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator") as http:
        target = await Target.connect(http, random=Random(1), credentials=None)
        async with push_receiver() as receiver_url:
            results = await Runner(target, receiver_url=receiver_url).run(cases)
    await state.close()
    return results


@pytest.fixture(scope="module")
def results() -> list[Result]:
    """Return the results of all cases against a simulator with İYS's own limits."""
    return asyncio.run(asked(SimulatorState(Settings()), *all_cases()))


def test_simulator_passes_every_case(results: list[Result]):
    """Every case passes, none is skipped, and each has its own title."""
    wrong = [
        f"{result.case.endpoint.name}: {result.case.title}: {result.reason}"
        for result in results
        if result.outcome is not Outcome.PASSED
    ]
    assert wrong == []
    names = [(result.case.endpoint, result.case.title) for result in results]
    assert len(names) == len(set(names))


@pytest.mark.skipif(not DESCRIPTION.exists(), reason="İYS's description is not here")
def test_table_covers_the_description(results: list[Result]):
    """Every endpoint of the consent domain, nearly every H-code of each, and 95 % of all codes."""
    listed = {
        name: set(re.findall(r"\bH\d{3}\b", json.dumps(operation["responses"])))
        for name, operation in described().items()
        if is_of_the_consent_domain(operation)
    }
    shown: dict[str, set[str]] = {}
    for result in results:
        shown.setdefault(result.case.endpoint.name, set()).update(codes_shown([result]))
    assert shown.keys() == listed.keys()
    pairs = [(name, code) for name, codes in listed.items() for code in codes]
    missing = [(name, code) for name, code in pairs if code not in shown[name]]
    codes = set().union(*listed.values())
    print(  # noqa: T201 - the coverage, with -s or on failure
        f"{len(shown)} operations, {len(codes & set().union(*shown.values()))} of {len(codes)} "
        f"codes, {len(pairs) - len(missing)} of {len(pairs)} codes of operations; not: {missing}"
    )
    assert len(codes & set().union(*shown.values())) >= 0.95 * len(codes)
    assert len(missing) <= 0.05 * len(pairs)


@pytest.mark.skipif(not DESCRIPTION.exists(), reason="İYS's description is not here")
def test_every_example_has_the_shape_of_a_response(results: list[Result]):
    """Each example of the description has keys and types of a response of the simulator."""
    ours: dict[tuple[str, str], list[object]] = {}
    for result in results:
        ours.setdefault((result.case.endpoint.name, str(result.status)), []).append(result.content)
    shapes = {where: shape_of(contents) for where, contents in ours.items()}
    strange: dict[str, set[str]] = {}
    found = 0
    for name, operation in described().items():
        if not is_of_the_consent_domain(operation):
            continue
        for status, example in examples_of(operation):
            found += 1
            for stranger in strangers_to(shapes.get((name, status), {}), example):
                strange.setdefault(stranger, set()).add(name)
    print(f"{found} examples of {len(shapes)} answers")  # noqa: T201 - the coverage
    assert strange == {deviation.stranger: set(deviation.operations) for deviation in EXAMPLES}


@pytest.mark.skipif(not DESCRIPTION.exists(), reason="İYS's description is not here")
def test_responses_have_only_keys_of_examples(results: list[Result]):
    """Each key is in an example of the endpoint and status, or a deviation with its reason."""
    known: dict[tuple[str, str], set[str]] = {}
    for name, operation in described().items():
        for status, example in examples_of(operation):
            known.setdefault((name, status), set()).update(keys_of([example]))
    extra: dict[tuple[str, str], set[str]] = {}
    for result in results:
        where = (result.case.endpoint.name, str(result.status))
        if added := keys_of([result.content]) - known.get(where, keys_of([result.content])):
            extra.setdefault(where, set()).update(added)
    assert extra == {where: keys for where, (keys, _) in KEYS.items()}


@pytest.mark.skipif(not DESCRIPTION.exists(), reason="İYS's description is not here")
def test_every_status_is_documented(results: list[Result]):
    """Each status is listed for its endpoint, or a deviation; no deviation is unused."""
    undocumented = {
        (result.case.endpoint.name, result.status)
        for result in results
        if str(result.status) not in described()[result.case.endpoint.name]["responses"]
    }
    assert {deviation_of_status(name, status) for name, status in undocumented} == STATUSES.keys()
    unlisted = [
        result
        for result in results
        if result.status == 422 and (result.case.endpoint.name, 422) in undocumented
    ]
    assert set(codes_shown(unlisted)) == {"H190", "H191"}


async def test_run_restores_settings_fault_rules_and_speed():
    """Limits are disabled only for the run, and the faults of a case do not affect the next."""
    state = SimulatorState(Settings(requests_per_second=7, result_delay=3))
    faulty = Case(
        endpoint=BRANDS,
        title="fault rule that is not used up",
        expected=success(200),
        setup=(inject_fault(endpoints.ADD, "H103", 500),),
    )
    rate = [case for case in all_cases() if case.expected.code == "H124"][:2]
    results = await asked(state, faulty, *rate)
    assert {result.outcome for result in results} == {Outcome.PASSED}
    assert state.settings == Settings(requests_per_second=7, result_delay=3)
    assert state.faults.rules() == ()
    assert state.clock.speed == 1


@pytest.mark.parametrize(
    ("expected", "status", "content", "reason"),
    [
        (success(200), 500, {"errors": [{"code": "H103"}]}, "500 H103 received"),
        (
            refusal("H110", 422),
            422,
            {"errors": [{"code": "H111", "message": "x"}]},
            "H111 received",
        ),
        (refusal("H110", 422), 422, "text", "no code received"),
        (refusal("H110", 422), 422, {"errors": []}, "no code received"),
        (refusal("H110", 422), 422, {"errors": [{"code": "H110"}]}, "no message"),
        (
            refusal("H110", 422, "status"),
            422,
            {"errors": [{"code": "H110", "message": "x", "location": ["type"]}]},
            "not at ('status',)",
        ),
        (
            refusal("H110", 422, index=1),
            422,
            {"errors": [{"code": "H110", "message": "x", "index": 0}]},
            "not at 1",
        ),
        (success(200, {"0.status": "success"}), 200, [{"status": "failure"}], "'failure' received"),
        (success(200, {"list.0.status": ...}), 200, {"list": []}, "a value expected"),
    ],
)
def test_mismatch_is_described(expected: Expected, status: int, content: object, reason: str):
    """Status, code, message, place and values are compared."""
    assert reason in mismatch(expected, status, content)


@pytest.mark.parametrize(
    "content",
    [
        {"errors": [{"code": "H353", "message": "x"}]},
        {"errors": [{"code:": "H353", "message": "x"}]},
        {"code": "H353", "message": "x"},
    ],
)
def test_code_is_read_in_each_of_iyss_shapes(content: object):
    """In the envelope, under the misspelt key, and flat."""
    assert mismatch(refusal("H353", 403), 403, content) == ""


def test_name_without_a_value_is_an_error():
    """A typing error in a case is not sent as text."""
    with pytest.raises(KeyError):
        filled({"recipient": "to $nobody"}, {})


async def test_failed_setup_fails_its_case():
    """The request itself is not sent, and the setup request is named."""
    step = Step(method="POST", path="/__simulator__/brands", body={})
    case = Case(endpoint=BRANDS, title="a brand without a code", expected=success(200))
    with_step = Case(endpoint=BRANDS, title="x", expected=success(200), setup=(step,))
    first, second = await asked(SimulatorState(), with_step, case)
    assert (first.outcome, first.reason) == (
        Outcome.FAILED,
        "setup: POST /__simulator__/brands: 400",
    )
    assert second.outcome is Outcome.PASSED


def elsewhere(request: httpx.Request) -> httpx.Response:
    """Respond as a server that is not the simulator."""
    if request.url.path == "/oauth2/token":
        return httpx.Response(200, json={"access_token": "fake"})
    if request.url.path.endswith("/brands"):
        return httpx.Response(200, json=[])
    return httpx.Response(404)


async def test_cases_that_need_the_admin_api_are_skipped():
    """The given credentials are used, and the rest is skipped with the reason."""
    transport = httpx.MockTransport(elsewhere)
    async with httpx.AsyncClient(transport=transport, base_url="http://elsewhere") as http:
        target = await Target.connect(http, random=Random(1), credentials=CREDENTIALS)
        results = await Runner(target).run(all_cases())
    by_outcome = {
        outcome: {result.reason for result in results if result.outcome is outcome}
        for outcome in Outcome
    }
    assert by_outcome[Outcome.SKIPPED] == {
        "needs the simulator's admin API",
        "needs a business partner's account",
        "needs a push address that the base URL can reach",
        "needs a retailer of the brand",
    }
    assert "HTTP 401 expected, 200 received" in by_outcome[Outcome.FAILED]


async def test_without_credentials_every_case_is_skipped():
    """Each case has the reason."""
    transport = httpx.MockTransport(elsewhere)
    async with httpx.AsyncClient(transport=transport, base_url="http://elsewhere") as http:
        target = await Target.connect(http, random=Random(1), credentials=None)
        results = await Runner(target).run(all_cases())
    assert {result.outcome for result in results} == {Outcome.SKIPPED}


async def test_unreachable_target_is_an_error():
    """A base URL that does not respond is no list of failures."""
    async with httpx.AsyncClient(base_url="http://127.0.0.1:1", trust_env=False) as http:
        with pytest.raises(UnreachableError):
            await Target.connect(http, random=Random(1), credentials=None)


async def test_target_lost_during_the_run_is_an_error():
    """The run ends there: cases that were not sent are not failures."""

    def dying(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/faults"):
            raise httpx.ConnectError("gone")
        return httpx.Response(200, json={"nowTurkey": "2026-09-17 12:00:00", "access_token": "x"})

    faulty = [case for case in all_cases() if case.expected.code == "H103"]
    transport = httpx.MockTransport(dying)
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator") as http:
        target = await Target.connect(http, random=Random(1), credentials=None)
        with pytest.raises(UnreachableError):
            await Runner(target).run(faulty)
