"""A real identity provider: npm's ``oidc-provider``, which `make test` installs where npm is."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from pydantic import SecretStr

from izin.local import free_port
from izin.local.processes import answers
from tests.support.console.harness import HOME
from tests.support.project_rules import ROOT
from tests.support.waiting import until

INSTALLED = ROOT / ".venv" / "oidc-provider"
CLIENT_ID, SECRET = "izin", "an obviously fake secret: 100 % of it"
_ACTION = re.compile(r'action="([^"]+)"')
_PROMPT = re.compile(r'name="prompt" value="(\w+)"')
_PROGRAM = """
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { Provider } from 'oidc-provider'
const given = JSON.parse(process.argv[2])
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const key = { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' }
const provider = new Provider(given.issuer, {
  clients: [{ client_id: given.client, client_secret: given.secret, redirect_uris: [given.back] }],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['preferred_username'] },
  scopes: ['openid', 'email', 'profile'],
  conformIdTokenClaims: !given.inToken,
  cookies: { keys: ['fake'] },
  jwks: { keys: [key] },
  pkce: { required: () => true },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id, email: id, email_verified: !id.startsWith('new'), preferred_username: id,
    }),
  }),
})
provider.listen(given.port, '127.0.0.1')
"""
"""Whoever signs in is called so, and has a verified address unless that begins with ``new``."""


def is_installed() -> bool:
    """Whether this machine can run it."""
    return shutil.which("node") is not None and (INSTALLED / "node_modules").exists()


needs_provider = pytest.mark.skipif(
    not is_installed(), reason="make test has not installed oidc-provider: there is no npm"
)


@dataclass(kw_only=True)
class OidcProvider:
    """A provider on a port of its own."""

    in_token: bool = False
    """Whether tokens have all claims; else the provider's user info has them."""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def issuer(self) -> str:
        """Its issuer."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a console that signs people in there."""
        return {
            "oidc_issuer": self.issuer,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": SecretStr(SECRET),
        }

    def start(self) -> None:
        """Start it, with a signing key of its own; it is ready then."""
        given = {
            "issuer": self.issuer,
            "port": self.port,
            "client": CLIENT_ID,
            "secret": SECRET,
            "back": f"{HOME}/sign-in/oidc/back",
            "inToken": self.in_token,
        }
        command = ["node", "--input-type=module", "-e", _PROGRAM, "-", json.dumps(given)]
        self.process = subprocess.Popen(
            command, cwd=INSTALLED, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: answers(f"{self.issuer}/.well-known/openid-configuration"), within=60)

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    async def signed_in(self, address: str, login: str) -> str:
        """Sign in at ``address`` as a person does; return where the browser is sent back to."""
        async with httpx.AsyncClient(base_url=self.issuer, trust_env=False) as client:
            answer = await client.get(address)
            while not answer.headers.get("Location", "").startswith(HOME):
                if answer.is_redirect:
                    answer = await client.get(urljoin(self.issuer, answer.headers["Location"]))
                    continue
                action, prompt = _ACTION.search(answer.text), _PROMPT.search(answer.text)
                assert action, answer.text
                assert prompt, answer.text
                form = {"prompt": prompt[1], "login": login, "password": "fake"}
                answer = await client.post(action[1], data=form)
        return str(answer.headers["Location"]).removeprefix(HOME)

    async def refused(self, address: str) -> str:
        """Give up signing in at ``address``; return where the browser is sent back to."""
        async with httpx.AsyncClient(base_url=self.issuer, trust_env=False) as client:
            answer = await client.get(address)
            answer = await client.get(f"{answer.headers['Location']}/abort")
            while not answer.headers["Location"].startswith(HOME):
                answer = await client.get(answer.headers["Location"])
        return str(answer.headers["Location"]).removeprefix(HOME)


@contextmanager
def running_provider(*, in_token: bool = False) -> Iterator[OidcProvider]:
    """Run one until the context ends."""
    provider = OidcProvider(in_token=in_token)
    try:
        provider.start()
        yield provider
    finally:
        provider.stop()
