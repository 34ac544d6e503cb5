"""A real identity provider: npm's ``oidc-provider``, which `make test` installs where npm is."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from pydantic import SecretStr

from izin.local import StartError, free_port
from izin.local.processes import Child, Command
from tests.support.console.harness import HOME
from tests.support.project_rules import ROOT

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

    folder: Path
    """Where its log is."""
    in_token: bool = False
    """Whether tokens have all claims; else the provider's user info has them."""
    port: int = field(default_factory=free_port)
    process: Child | None = None

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
        """Start it, with a signing key of its own; it is ready then.

        Raises:
            StartError: It ended or hung, with the last lines of its log. A first start is tried
                again on another port.
        """
        if self.process is None:
            try:
                self.process = self._started()
            except StartError:
                self.port = free_port()
        if self.process is None or not self.process.is_alive:
            self.process = self._started()

    def _started(self) -> Child:
        given = {
            "issuer": self.issuer,
            "port": self.port,
            "client": CLIENT_ID,
            "secret": SECRET,
            "back": f"{HOME}/sign-in/oidc/back",
            "inToken": self.in_token,
        }
        child = Child(
            Command(
                name="oidc-provider",
                argv=("node", "--input-type=module", "-e", _PROGRAM, "-", json.dumps(given)),
                log=self.folder / "oidc-provider.log",
                folder=INSTALLED,
                ready=f"{self.issuer}/.well-known/openid-configuration",
                ready_within=timedelta(seconds=30),
            )
        )
        try:
            child.start().wait_ready()
        except BaseException:
            child.kill()
            raise
        return child

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None:
            self.process.kill()

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
    with tempfile.TemporaryDirectory() as folder:
        provider = OidcProvider(folder=Path(folder), in_token=in_token)
        try:
            provider.start()
            yield provider
        finally:
            provider.stop()
