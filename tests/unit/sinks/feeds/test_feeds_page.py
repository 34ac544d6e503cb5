"""The page of the feeds is correct: its requests are sent, and what it names is there."""

import json
import re
import shlex
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from izin.runtime.settings import FeedsSettings
from izin.schemas.consistency_token import token_of
from izin.sinks.feeds.endpoint import _SEARCH
from izin.sinks.feeds.protocol import parameters_of
from izin.sinks.feeds.server import _LIMITS
from tests.support.api_keys import API_KEY, AUTHORIZATION
from tests.support.source_tree import ROOT
from tests.unit.sinks.feeds.conftest import Api
from tests.unit.sinks.feeds.fakes import CODEC, OPT_OUTS, PERMISSIONS, FakeMessage

PAGE = (ROOT / "docs" / "feeds.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
CURLS = re.findall(r"^curl (.*)$", PAGE, re.MULTILINE)
(EXAMPLE,) = re.findall(r"200:\n+```json\n(.*?)```", PAGE, re.DOTALL)


async def sent(api: Api, words: str, *, after: str) -> Any:  # noqa: ANN401  # any JSON
    """Send what curl would, with a wait of nothing; return the page."""
    url, option, header = shlex.split(
        words.replace("$NEXT", after)
        .replace("$TOKEN", token_of([]))
        .replace("$IZIN_API_KEY", API_KEY)
    )
    assert (option, header) == ("-H", f"Authorization: {AUTHORIZATION['Authorization']}")
    parts = urlsplit(url)
    assert parts.port == FeedsSettings().port
    query = dict(parse_qsl(parts.query)) | {"wait": "0"}
    response = await api.client.get(parts.path, params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def test_each_request_is_answered(api: Api):
    """Copied, with a cursor and a token where they stand."""
    assert len(CURLS) == 4
    begun = (await api.get("/v1/opt-outs")).json()["next"]
    for words in CURLS:
        assert set(await sent(api, words, after=begun)) >= {"items", "next", "complete"}


async def test_example_is_what_a_feed_returns(api: Api):
    """Field by field."""
    expected = json.loads(EXAMPLE)
    (item,) = expected["items"]
    instants = ("effective_at", "consent_date", "latest_onay_at", "latest_ret_at")
    fields = item | {name: datetime.fromisoformat(item[name]) for name in instants}
    api.sources.write(
        "opt-outs",
        FakeMessage(
            item["partition"],
            item["offset"],
            CODEC.encode("Consent", fields),
            key=item["key"].encode(),
            headers=[("ce_id", item["id"].encode())],
        ),
    )
    page = await sent(api, CURLS[0], after="")
    assert page | {"next": "…"} == expected


@pytest.mark.parametrize("feed", [OPT_OUTS, PERMISSIONS])
def test_every_parameter_is_on_the_page(feed: Any):  # noqa: ANN401  # a Feed
    """And no other."""
    table = PAGE[PAGE.index("## Parameters") : PAGE.index("## Responses")]
    named = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert named - {one.name for one in parameters_of(feed)} <= {"from"}
    assert {one.name for one in parameters_of(feed)} <= named


def test_every_status_is_on_the_page():
    """As the OpenAPI document has them."""
    document = json.loads((ROOT / "docs" / "openapi" / "feeds.json").read_text("utf-8"))
    table = PAGE[PAGE.index("## Responses") : PAGE.index("## Limits")]
    assert set(re.findall(r"^\| (\d{3})", table, re.MULTILINE)) == set(
        document["paths"]["/v1/opt-outs"]["get"]["responses"]
    )


def test_limits_are_those_of_the_code():
    """Numbers that a reader plans with."""
    text = PAGE[PAGE.index("## Limits") :]
    settings = FeedsSettings()
    assert f"{_LIMITS.requests} requests at once" in text
    assert f"{settings.memory // 2**20} MiB" in text
    assert (settings.readers, _SEARCH) == (4, 2.0)
    assert "for four\nrequests at a time" in text
    assert "searched for two seconds" in text
    assert settings.reflect_within.total_seconds() == 5
    assert "within five seconds" in PAGE


def test_readme_names_a_path_that_is_served():
    """With the port of the feeds."""
    (url,) = re.findall(r"curl '(http://127\.0\.0\.1:\d+/v1/[\w-]+)\?wait=30'", README)
    assert url == f"http://127.0.0.1:{FeedsSettings().port}{OPT_OUTS.path}"
