"""Signatures are verified by the official libraries of three languages, during a rotation too."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from izin.sinks.webhooks.events import body_of
from izin.sinks.webhooks.posting import SECRET_BYTES, new_secret, signed
from tests.support.webhooks import a_subscriber

HERE = Path(__file__).parent
NPM = "standardwebhooks@1.1.1"
GO = "github.com/standard-webhooks/standard-webhooks/libraries@v0.0.1"
Verify = Callable[[str, dict[str, str], bytes], str]
"""Returns the type of a verified event; raises CalledProcessError for another signature."""
LIMIT = 110


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
    headers = dict(signed(rotating.secrets_at(now), "msg_1", now, body))
    for secret in (former, present):
        assert verify(secret, headers, body) == "consent.opted-out"
    after = rotating.secrets_at(now + timedelta(hours=1))
    headers = dict(signed(after, "msg_1", now, body))
    assert verify(present, headers, body) == "consent.opted-out"
    for secret in (former, new_secret()):
        with pytest.raises(subprocess.CalledProcessError):
            verify(secret, headers, body)
    with pytest.raises(subprocess.CalledProcessError):
        verify(present, headers, body.replace(b"opted-out", b"opted-inn"))


def test_secret_has_the_standards_form() -> None:
    """Its prefix, and as many random bytes as it asks for."""
    secret = new_secret(lambda size: b"x" * size)
    assert secret == "whsec_" + "eHh4" * 10 + "eHg="
    assert 24 <= SECRET_BYTES <= 64
