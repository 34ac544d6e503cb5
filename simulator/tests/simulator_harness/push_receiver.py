"""A push address for tests, and its registration."""

import asyncio
import base64
import json

import httpx

from simulator_harness.client import SimulatorHarness

CONNECTION = {
    "url": "https://push.example.com/iys",
    "type": "MESAJ",
    "username": "receiver",
    "password": "fake",
}


class Receiver:
    """A push address: requires Basic authentication, and fails as often as configured."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, object]] = []
        self.failures = 0
        self.is_open = False
        self.problem: Exception | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.problem:
            raise self.problem
        expected = "Basic " + base64.b64encode(b"receiver:fake").decode()
        if not self.is_open and request.headers.get("authorization") != expected:
            return httpx.Response(401)
        if self.failures:
            self.failures -= 1
            return httpx.Response(500)
        self.bodies.append(json.loads(request.content))
        return httpx.Response(200)

    @property
    def recipients(self) -> list[str]:
        return [item["recipient"] for body in self.bodies[1:] for item in body["list"]]


async def register(iys: SimulatorHarness, *connections: object):
    return await iys.http.post(
        f"{iys.path}/push/registration", json={"connection": list(connections)}
    )


async def deliveries_done(iys: SimulatorHarness):
    async with asyncio.timeout(5):
        while iys.state.push.is_busy:  # noqa: ASYNC110 - turns of the loop, no time
            await asyncio.sleep(0)
