"""What a client may say in the query, and what it is answered about the rest."""

import pytest
from starlette.datastructures import QueryParams

from izin.runtime.http_server.problems import RequestRefusedError
from izin.schemas.consistency_token import LogPosition, token_of
from izin.sinks.feeds.protocol import feed_request, parameters_of
from tests.unit.sinks.feeds.fakes import OPT_OUTS, PERMISSIONS

TOKEN = token_of([LogPosition("consent-events", 0, 1)])


def test_nothing_need_be_said() -> None:
    """Then reading begins at the oldest record, without a wait."""
    asked = feed_request(QueryParams(""), OPT_OUTS)
    assert (asked.after, asked.is_from_now, asked.limit, asked.wait) == (None, False, 500, 0)
    assert asked.at_least is None


def test_everything_is_taken_as_it_is_said() -> None:
    """The limits themselves included."""
    asked = feed_request(QueryParams(f"after=abc&limit=1000&wait=30&at_least={TOKEN}"), PERMISSIONS)
    assert (asked.after, asked.limit, asked.wait) == ("abc", 1000, 30)
    assert asked.at_least == (LogPosition("consent-events", 0, 1),)
    assert feed_request(QueryParams("from=now&wait=0.5"), OPT_OUTS).is_from_now


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e2", "limit"),
        ("limit=", "limit"),
        ("limit=٣", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=000000001999999", "limit"),
        ("limit=000000001" + "0" * 5000, "limit"),
        ("wait=" + "9" * 5000, "wait"),
        ("wait=31", "wait"),
        ("wait=-1", "wait"),
        ("wait=nan", "wait"),
        ("wait=inf", "wait"),
        ("wait=PT5S", "wait"),
        ("from=yesterday", "from"),
        ("from=now&after=x", "from"),
        ("at_least=7", "at_least"),
        ("at_least=", "at_least"),
        ("atleast=7", "atleast"),
        ("After=7", "After"),
        ("limit=1&limit=2", "limit"),
    ],
)
def test_what_cannot_be_used_is_named(query: str, named: str) -> None:
    """A misspelt parameter would be ignored, and the client would not know."""
    with pytest.raises(RequestRefusedError) as refused:
        feed_request(QueryParams(query), OPT_OUTS)
    is_of_range = named in {"limit", "wait"} and "&" not in query
    assert refused.value.text.status == (422 if is_of_range else 400)
    assert refused.value.text.detail.startswith(f"{named} ")


def test_permissions_cannot_begin_in_between() -> None:
    """A list of permissions without the earlier ones would be no list."""
    assert "from" not in {one.name for one in parameters_of(PERMISSIONS)}
    with pytest.raises(RequestRefusedError, match="from is no parameter here"):
        feed_request(QueryParams("from=now"), PERMISSIONS)
