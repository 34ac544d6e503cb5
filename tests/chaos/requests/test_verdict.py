"""What the requests campaign makes, reads and reports: each check finds what is wrong."""

import json

import pytest

from tests.chaos.hostile.test_verdict import a_pair
from tests.chaos.requests.__main__ import ApiVerdict, report
from tests.chaos.requests.apis import TARGETS, Api
from tests.chaos.requests.making import HostileRequest, Known, hostile_request, kinds_of, request
from tests.chaos.requests.writer import Answers, note, statuses_of

KNOWN = {api: Known(api=api, topics=("consent-events",)) for api in Api}


@pytest.mark.parametrize("api", Api)
def test_hostile_request_is_the_same_for_the_same_seed(api: Api) -> None:
    """What did harm can be made again, alone; every kind comes up."""
    made = [hostile_request(1, number, KNOWN[api]) for number in range(400)]
    assert made[7] == hostile_request(1, 7, KNOWN[api]) != hostile_request(2, 7, KNOWN[api])
    assert {one.kind for one in made} == kinds_of(api)


def test_lawful_request_is_whole() -> None:
    """What is made hostile is right otherwise."""
    for one in TARGETS.values():
        body = one.lawful(3)
        head, _, rest = request(one, body=body).partition(b"\r\n\r\n")
        assert rest == body
        assert head.startswith(f"{one.method} {one.path} HTTP/1.1\r\nHost: test\r\n".encode())


def _answer(status: int, body: bytes = b"x") -> bytes:
    return b"HTTP/1.1 %d Any\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def test_answers_are_counted_with_and_without_bodies() -> None:
    """A text in a body is none; an answer to HEAD has a length and no body."""
    lie = b"HTTP/1.1 500 No\r\n\r\n"
    read = b"HTTP/1.1 100 Continue\r\n\r\n" + _answer(200, b"x" + lie) + _answer(422)
    assert [*statuses_of(read)] == [200, 422]
    headless = _answer(405)[:-1]
    assert [*statuses_of(headless + headless)] == [405, 405]
    assert [*statuses_of(b"HTTP/1.1 200 OK\r\ncontent-")] == []


def test_campaign_finds_what_must_not_be() -> None:
    """A check that cannot fail says nothing."""
    found = Answers()
    note(found, 1, HostileRequest(kind="body", content=b"", answers=1), _answer(500))
    note(found, 2, HostileRequest(kind="body", content=b"", answers=1), b"")
    note(found, 3, HostileRequest(kind="lengths", content=b""), _answer(200) * 2)
    note(found, 4, HostileRequest(kind="lengths", content=b"", status=400), _answer(202))
    assert [one.partition(": b'")[0] for one in found.faults] == ["request 1 (body): 500"]
    assert found.wrong == [
        "request 2 (body): 0 of 1 answers",
        "request 3 (lengths): 2 answers, 1 at most",
        "request 4 (lengths): [202], not 400",
    ]
    assert found.statuses == {"body 500": 1, "body -": 1, "lengths 200": 2, "lengths 202": 1}


def test_figures_are_of_the_worst_api() -> None:
    """The neighbour's is the median of three, of a limit of twice that without, or of 50 ms."""
    gate = ApiVerdict(sent=9, pairs=[a_pair(4, 40), a_pair(4, 45), a_pair(4, 500)])
    feeds = ApiVerdict(sent=8, pairs=[a_pair(100, 150)], failed=["ended"])
    feeds.answers.faults.append("request 1")
    found = report({Api.GATE: gate, Api.FEEDS: feeds}, seed=4, seconds=1)
    figures = {"requests": 8, "requests-5xx": 1, "requests-neighbour-p99-ms": 45}
    assert (found.figures, found.failures, feeds.p99) == (figures, ["ended"], 37.5)
    assert json.loads(json.dumps(dict(found.data)))["seed"] == 4
