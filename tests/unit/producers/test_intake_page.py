"""The page of the intake is correct: its requests are sent and get the documented responses."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import httpx
import pytest

from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.producers.intake.request_body import NAMES
from izin.schemas.consistency_token import positions_of
from tests.support.builders import API_KEY, NOON
from tests.unit.producers.fakes import FakePublisher, intake_client

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "intake.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
FORM = "application/x-www-form-urlencoded"
EXAMPLES = re.findall(r"```sh\n(curl .*?)```\n+(\d{3}):\n+```json\n(.*?)```", PAGE, re.DOTALL)


async def sent(command: str, fake: FakePublisher) -> httpx.Response:
    """Send what the curl ``command`` would to an intake that has the brand of the examples."""
    words = shlex.split(command.replace("\\\n", " ").replace("$IZIN_API_KEY", API_KEY))
    options = list(zip(words[2::2], words[3::2], strict=True))
    headers = [tuple(value.split(": ", 1)) for option, value in options if option == "-H"]
    data = "&".join(value for option, value in options if option == "-d")
    assert {option for option, _ in options} <= {"-H", "-d"}
    names = {name.lower() for name, _ in headers}
    if "content-type" not in names:
        headers.append(("Content-Type", FORM))
    brand = RegisteredBrand(
        brand_code=100001,
        iys_code=100001,
        customer_id="acme",
        name="Example",
        activated_at=NOON.replace(year=2020),
    )
    async with intake_client(fake, BrandDirectory([brand]), lambda: NOON) as client:
        del client.headers["Authorization"]
        return await client.post(words[1], content=data.encode(), headers=headers)


def plain(answer: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return ``answer`` without the ids, which chance makes, and the token, which Kafka does."""
    for one in answer["events"]:
        one["event_id"] = "…"
    assert positions_of(answer["token"])
    request_id = {"request_id": "…"} if "request_id" in answer else {}
    return answer | {"token": "…"} | request_id


@pytest.mark.parametrize(("command", "status", "answer"), EXAMPLES)
async def test_each_request_is_answered_as_the_page_says(
    fake: FakePublisher, command: str, status: str, answer: str
) -> None:
    """Status and body, but for the ids."""
    got = await sent(command, fake)
    assert got.status_code == int(status)
    assert plain(got.json()) == json.loads(answer)


def test_page_has_requests_of_every_kind() -> None:
    """The check above looks at something."""
    assert len(EXAMPLES) == PAGE.count("\ncurl ") == 5
    assert {status for _, status, _ in EXAMPLES} == {"202", "422"}


async def test_request_of_the_readme_is_accepted(fake: FakePublisher) -> None:
    """Copied, it publishes a RET."""
    (command,) = re.findall(r"^curl \S+/v1/consents .*?[^\\]$", README, re.MULTILINE | re.DOTALL)
    got = await sent(command, fake)
    assert got.status_code == 202
    assert got.json()["events"][0]["violations"] == []


def test_every_field_is_on_the_page() -> None:
    """And no other."""
    table = PAGE[PAGE.index("## Fields") : PAGE.index("## Limits")]
    rows = [row.split("|") for row in table.splitlines() if row.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row[1])} == set(NAMES)
