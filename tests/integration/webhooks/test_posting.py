"""One request to a subscriber, over real sockets: addresses, redirects, time and size limits.

Signatures are verified by the official libraries of three languages, during a rotation too.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from benchmarks.webhooks.receiver import ScriptedAnswer, WebhookReceiver
from izin.runtime.settings import WebhookSettings
from izin.webhooks.events import body_of
from izin.webhooks.posting import (
    MOST_OF_A_REPLY,
    SECRET_BYTES,
    AllowedTargets,
    Poster,
    RefusedUrlError,
    Reply,
    check_url,
    new_secret,
    signed,
)
from tests.integration.sinks.sink_harness import set_environment
from tests.support.secret_keys import some_keys
from tests.support.tcp import silent_server
from tests.support.webhooks import a_subscriber

LOOPBACK = AllowedTargets.parse(["127.0.0.0/8"])
HERE = Path(__file__).parent
NPM = "standardwebhooks@1.1.1"
GO = "github.com/standard-webhooks/standard-webhooks/libraries@v0.0.1"
Verify = Callable[[str, dict[str, str], bytes], str]
"""Returns the type of a verified event; raises CalledProcessError for another signature."""
LIMIT = 110


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    """Give a receiver that takes everything."""
    async with WebhookReceiver().listening() as found:
        yield found


def a_poster(url: str, *, allowed: AllowedTargets = LOOPBACK, timeout: float = 5.0) -> Poster:
    """Return a poster to a URL."""
    tls = WebhookSettings().tls_context()
    return Poster(url, allowed=allowed, tls=tls, timeout=timeout, parallel=2)


async def posted(url: str, **given: Any) -> Reply:  # noqa: ANN401  # as a_poster takes them
    """Return the reply to a request to a URL."""
    poster = a_poster(url, **given)
    reply = await poster.post([], b"{}")
    await poster.close()
    return reply


async def test_request_that_is_given_up_is_not_delivered_later():
    """An opt-in that comes once its repetition and an opt-out were taken would be the last word."""
    with silent_server() as (port, received):
        poster = a_poster(f"http://127.0.0.1:{port}/", timeout=0.5)
        body = b"x" * 200_000
        reply = await poster.post([], body)
        await poster.close()
        assert reply.status is None
        assert await asyncio.to_thread(received) < len(body)


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let names resolve to ``answers``, the last of them for ever; return what is asked for."""
    asked: list[str] = []

    async def getaddrinfo(
        _loop: object, host: str, port: int, **_: object
    ) -> list[tuple[object, ...]]:
        found = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


async def test_private_address_is_refused_at_the_connection(receiver: WebhookReceiver):
    """Without the operator's permission nothing leaves, with TLS or without."""
    for url in (receiver.url(), f"https://127.0.0.1:{receiver.port}/"):
        reply = await posted(url, allowed=AllowedTargets())
        assert reply.status is None
        assert str(reply.failure).startswith("address refused")
    assert receiver.received == []


async def test_name_that_comes_to_mean_another_address_is_refused(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
):
    """It was public when it was added (rebinding): each connection checks what it connects to."""
    asked = resolving(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
    url = f"https://crm.example.com:{receiver.port}/hook"
    await check_url(AllowedTargets(), url)
    reply = await posted(url, allowed=AllowedTargets())
    assert "no address of the public Internet" in str(reply.failure)
    assert asked == ["crm.example.com", "crm.example.com"]
    assert receiver.received == []


async def test_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch):
    """Every address of a name counts, not the first."""
    resolving(monkeypatch, ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(RefusedUrlError, match=r"10\.0\.0\.1"):
        await check_url(AllowedTargets(), "https://crm.example.com/hook")


async def test_checked_address_is_connected_without_another_look(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
):
    """The name is resolved once for each connection, and by nobody behind the check."""
    asked = resolving(monkeypatch, ["127.0.0.1"], ["203.0.113.1"])
    poster = a_poster(f"http://crm.example.com:{receiver.port}/hook")
    assert (await poster.post([("x-a", "b")], b"{}")).is_acknowledgement
    assert (await poster.post([], b"{}")).is_acknowledgement
    await poster.close()
    assert asked == ["crm.example.com"]
    assert receiver.received[0].headers["host"] == f"crm.example.com:{receiver.port}"


async def test_redirect_is_a_failure_and_is_not_followed(receiver: WebhookReceiver):
    """It could lead to any address."""
    receiver.answer = lambda _: ScriptedAnswer(307, (("location", receiver.url("/other")),))
    reply = await posted(receiver.url())
    assert (reply.status, reply.is_acknowledgement) == (307, False)
    assert [one.path for one in receiver.received] == ["/hook"]


async def test_request_goes_to_the_address_of_its_name_alone(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
):
    """A proxy of the environment would resolve the name itself, and connect to wherever that leads.
    A name may have several addresses: the second is tried where the first does not answer.
    """
    names = ("HTTP_PROXY", "http_proxy", "ALL_PROXY")
    set_environment(monkeypatch, dict.fromkeys(names, "http://127.0.0.1:9"))
    resolving(monkeypatch, ["127.0.0.2", "127.0.0.1"])
    assert (await posted(f"http://crm.example.com:{receiver.port}/hook")).is_acknowledgement


async def test_slow_reply_ends_at_the_time_limit(receiver: WebhookReceiver):
    """Also one that trickles: the limit is of the whole request."""
    receiver.answer = lambda _: ScriptedAnswer(after=60)
    reply = await posted(receiver.url(), timeout=0.2)
    assert (reply.status, reply.failure) == (None, "no reply within 0.2 s")


async def test_long_reply_is_not_read_to_its_end(receiver: WebhookReceiver):
    """What it says is not kept either; the next request works."""
    receiver.answer = lambda _: ScriptedAnswer(body=b"x" * MOST_OF_A_REPLY * 50)
    poster = a_poster(receiver.url())
    for answer in (receiver.answer, lambda _: ScriptedAnswer()):
        receiver.answer = answer
        assert (await poster.post([], b"{}")).is_acknowledgement
    await poster.close()


async def test_failures_of_the_network_are_replies(receiver: WebhookReceiver):
    """Nobody listens, the connection is cut, it speaks no HTTP, the name is unknown."""
    receiver.answer = lambda _: ScriptedAnswer(is_cut=True)
    for url in (
        "http://127.0.0.1:9/",
        receiver.url(),
        f"https://127.0.0.1:{receiver.port}/",
        "http://no-such-host.invalid/",
    ):
        reply = await posted(url)
        assert (reply.status, reply.is_acknowledgement) == (None, False), url
        assert reply.failure, url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://crm.example.com/",
        "https:///hook",
        "crm.example.com/hook",
        "https://user:pass@crm.example.com/",
        "https://crm.example.com/#fragment",
        "https://crm.example.com:99999/",
        "https://crm.example.com/\r\nx: y",
        "https://127.1/",
        "https://2130706433/",
        "https://[::ffff:10.0.0.1]/",
        "https://localhost/",
    ],
)
async def test_url_to_which_nothing_may_be_posted_is_refused(url: str):
    """When it is added, with the reason."""
    with pytest.raises(RefusedUrlError):
        await check_url(AllowedTargets(), url)


async def test_compressed_reply_is_not_expanded(receiver: WebhookReceiver):
    """A few bytes could become gigabytes."""
    gzip = (("content-encoding", "gzip"),)
    receiver.answer = lambda _: ScriptedAnswer(headers=gzip, body=b"no gzip")
    assert (await posted(receiver.url())).is_acknowledgement


def run(argv: list[str], folder: Path, given: str = "") -> str:
    """Return what a program prints."""
    environment = os.environ | {"GOFLAGS": "-mod=mod", "npm_config_update_notifier": "false"}
    ended = subprocess.run(
        argv,
        cwd=folder,
        input=given,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    return ended.stdout.strip()


def in_python(_: Path) -> Verify:
    """Return the verification by the Python library."""

    def verify(secret: str, headers: dict[str, str], body: bytes) -> str:
        try:
            return str(Webhook(secret).verify(body, headers)["type"])
        except WebhookVerificationError as error:
            raise subprocess.CalledProcessError(1, "python") from error

    return verify


def in_node(folder: Path) -> Verify:
    """Return the verification by the JavaScript library; skips where Node is missing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not installed: the JavaScript library is not asked")
    run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", ".", NPM], folder)
    shutil.copy(HERE / "verify.mjs", folder)
    return program(["node", "verify.mjs"], folder)


def in_go(folder: Path) -> Verify:
    """Return the verification by the Go library; skips where Go is missing."""
    if shutil.which("go") is None:
        pytest.skip("go is not installed: the Go library is not asked")
    shutil.copy(HERE / "verify.go.txt", folder / "main.go")
    run(["go", "mod", "init", "verify"], folder)
    run(["go", "get", GO], folder)
    run(["go", "build", "-o", "verify", "."], folder)
    return program(["./verify"], folder)


def program(argv: list[str], folder: Path) -> Verify:
    """Return the verification by a program that reads a webhook as JSON."""

    def verify(secret: str, headers: dict[str, str], body: bytes) -> str:
        given = {"secret": secret, "headers": headers, "body": body.decode()}
        return run(argv, folder, json.dumps(given))

    return verify


@pytest.mark.timeout(LIMIT + 10)
@pytest.mark.parametrize("library", [in_python, in_node, in_go], ids=["python", "node", "go"])
def test_signature_is_verified_by_the_official_library(
    library: Callable[[Path], Verify], tmp_path: Path
) -> None:
    """By the secret before a rotation and by the one after it, and by no other."""
    verify, now = library(tmp_path), datetime.now(UTC)
    body = body_of("consent.opted-out", now, {"recipient": "ada@example.com", "reason": "ç ş ı"})
    former, present = new_secret(), new_secret()
    rotating = a_subscriber(secrets=(present, former), former_until=now + timedelta(hours=1))
    headers = dict(signed(rotating.secrets_at(now, some_keys()), "msg_1", now, body))
    for secret in (former, present):
        assert verify(secret, headers, body) == "consent.opted-out"
    after = rotating.secrets_at(now + timedelta(hours=1), some_keys())
    headers = dict(signed(after, "msg_1", now, body))
    assert verify(present, headers, body) == "consent.opted-out"
    for secret in (former, new_secret()):
        with pytest.raises(subprocess.CalledProcessError):
            verify(secret, headers, body)
    with pytest.raises(subprocess.CalledProcessError):
        verify(present, headers, body.replace(b"opted-out", b"opted-inn"))


def test_secret_has_the_standards_form() -> None:
    """Its prefix, and as many random bytes as it asks for."""
    assert new_secret(lambda size: b"x" * size) == "whsec_" + "eHh4" * 10 + "eHg="
    assert 24 <= SECRET_BYTES <= 64
