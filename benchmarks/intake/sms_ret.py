"""The benchmark ``sms-ret``: somebody replies RET, and a gateway posts the reply to the intake:
until the gate says no, and until İYS has accepted the opt-out.

The whole local stack runs. Each recipient has consented before, and the gate has said yes.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from time import time
from typing import Annotated

import httpx
import typer

from benchmarks.local_stack import running_local_stack
from benchmarks.results import RunReport
from benchmarks.worker.probe import LatencySummary, latency_table
from izin.producers.sources.folder import RECIPES
from izin.schemas.may_send_api import PATH
from izin.stack.actors import SimulatorClient
from izin.stack.stack import LocalStack
from izin.stack.stack_settings import ACTIVE

_SECRET = "a secret of the benchmark"  # noqa: S105  # of no account
_WITHIN = 120.0
_SETTLED = 1.0
"""Seconds of quiet before the first reply."""


def sms_ret(
    replies: Annotated[int, typer.Option(min=5, help="Recipients that reply.")] = 200,
    per_second: Annotated[float, typer.Option(min=0.1, help="Replies a second.")] = 5,
) -> RunReport:
    """Measure how soon an opt-out by text message has its effect."""
    with TemporaryDirectory(prefix="izin-bench-") as name:
        folder = Path(name)
        text = (RECIPES / "netgsm.toml").read_text("utf-8").replace("100001", str(ACTIVE))
        copy(RECIPES / "netgsm.toml", folder)
        (folder / "netgsm.toml").write_text(text, encoding="utf-8")
        (folder / "netgsm.secret").write_text(_SECRET, encoding="utf-8")
        with running_local_stack({"IZIN_INTAKE_SOURCES": name}) as stack:
            found = asyncio.run(_measure(stack, replies, per_second))
    title = f"{replies:,} replies, {per_second:g} a second"
    return RunReport(
        tables=[latency_table(found, title, "from the post until …", "replies")],
        data={"unit": "ms", "latencies": [asdict(one) for one in found]},
        figures={"sms-ret-gate": found[0].p99, "sms-ret-iys": found[1].most / 1000},
    )


async def _measure(stack: LocalStack, count: int, per_second: float) -> list[LatencySummary]:
    recipients = [f"+90555{3_000_000 + number:07d}" for number in range(count)]
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    async with AsyncExitStack() as clients:
        intake, gate = [
            await clients.enter_async_context(
                httpx.AsyncClient(
                    base_url=stack.url(part), headers=headers, timeout=30, trust_env=False
                )
            )
            for part in ("intake", "gate")
        ]
        await _consent(intake, recipients)
        async with asyncio.timeout(_WITHIN):
            while not all(await _may_send(gate, recipients)):  # noqa: ASYNC110  # other processes
                await asyncio.sleep(0.2)
        await asyncio.sleep(_SETTLED)
        start, posted = time(), dict[str, float]()

        async def reply(number: int, recipient: str) -> float:
            await asyncio.sleep(max(start + number / per_second - time(), 0))
            posted[recipient] = time()
            form = {"gsm": recipient, "message": "RET", "date": datetime.now(UTC).isoformat()}
            answer = await intake.post(f"/v1/sources/netgsm?secret={_SECRET}", data=form)
            answer.raise_for_status()
            while any(await _may_send(gate, [recipient])):  # noqa: ASYNC110  # other processes
                await asyncio.sleep(0.002)
            return time() - posted[recipient]

        until_no = await asyncio.gather(*map(reply, range(count), recipients))
    accepted = await asyncio.to_thread(_accepted, stack, recipients)
    return [
        LatencySummary.of("the gate says no", until_no),
        LatencySummary.of(
            "İYS has accepted it", [accepted[one] - posted[one] for one in recipients]
        ),
    ]


async def _consent(intake: httpx.AsyncClient, recipients: Sequence[str]) -> None:
    records = [
        {
            "recipient": recipient,
            "type": "MESAJ",
            "status": "ONAY",
            "source": "HS_WEB",
            "brand_code": ACTIVE,
            "date_basis": "received",
        }
        for recipient in recipients
    ]
    (await intake.post("/v1/consents", json=records)).raise_for_status()


async def _may_send(gate: httpx.AsyncClient, recipients: Sequence[str]) -> list[bool]:
    question = {"brand_code": ACTIVE, "type": "MESAJ", "recipients": list(recipients)}
    answer = (await gate.post(PATH, json=question)).raise_for_status()
    return [one["may_send"] for one in answer.json()["verdicts"]]


def _accepted(stack: LocalStack, recipients: Sequence[str]) -> dict[str, float]:
    """Return when İYS has accepted the opt-out of each; raises TimeoutError."""
    end, wanted = time() + _WITHIN, set(recipients)
    with SimulatorClient(stack.url("simulator")) as iys:
        while time() < end:
            found = {
                entry.address[3]: entry.occurred_at / 1000
                for entry in iys.movements()
                if entry.status == "RET" and entry.address[3] in wanted
            }
            if len(found) == len(wanted):
                return found
    raise TimeoutError(f"İYS has {len(found)} of {len(wanted)} opt-outs")
