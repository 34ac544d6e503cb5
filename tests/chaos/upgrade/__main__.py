"""``python -m tests.chaos.upgrade``: from 0.1.0 to here and back; ``make chaos STAGE=upgrade``.

Two intakes take posts all the while. The ledger is migrated under the former release; then its sink
worker, its order worker and its intakes are replaced, one after the other, by those of now; and
after a while they are put back, over the schema of now: docs/deploying.md. What runs as the former
release is its commit, from the history of this checkout.

It ends with the lines ``upgrade-accepted``, ``upgrade-lost`` (answered with 202, and not
decided, not in the ledger, or not as İYS has it), ``upgrade-decided-twice`` and ``upgrade-chain``
(faults of the history), ``ok`` or ``short``. Exit codes: 0 all hold, 1 one does not, 2 wrong usage.
"""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport
from izin.consent import OurError
from izin.kafka.bounded_reader import read_all
from izin.ledger.history import verify
from izin.local import free_port
from izin.local.processes import answers
from izin.schemas.codec import Codec
from izin.schemas.records import consent_from_avro
from tests.chaos.command import Seed, Show, counted, listed, run_stage, start
from tests.chaos.gate.__main__ import key_of
from tests.chaos.intake.__main__ import Client, is_opt_out
from tests.chaos.pipeline import UP_WITHIN, PipelineCampaign, differences, running_servers, until
from tests.support.builders import an_api_key
from tests.support.order.verdict import Worker
from tests.support.published import publish_brand, publish_key
from tests.support.simulator import PASSWORD, USERNAME

FORMER = "9b26c5f6"
"""The commit of version 0.1.0."""
_HERE = Path(__file__).parents[3]
_PARTITIONS = 4
_STEPS = 3
"""The former release, this one, and the former again."""


@contextmanager
def former_release(folder: Path) -> Iterator[Path]:
    """Provide the files of the former release, in ``folder``."""
    place = folder / "former"
    git = ("git", "-C", str(_HERE))
    added = subprocess.run(
        [*git, "worktree", "add", "--force", "--detach", str(place), FORMER],
        capture_output=True,
        text=True,
        check=False,
    )
    if added.returncode:
        raise OurError(f"commit {FORMER} is not in this checkout's history: {added.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run([*git, "worktree", "remove", "--force", str(place)], check=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeVerdict:
    """The result of an upgrade and a rollback."""

    posted: int
    accepted: int
    migrations: str
    answers: Mapping[str, int]
    lost: Sequence[str]
    twice: Sequence[str]
    chain: Sequence[str]


@dataclass(slots=True, kw_only=True)
class Processes:
    """One order worker, one sink worker, two intakes: each of one release at a time."""

    campaign: "UpgradeCampaign"
    former: Path
    running: dict[str, Worker] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def replace(self, name: str, folder: Path) -> None:
        """End the process ``name`` as an operator does, and start that of the release in
        ``folder``.
        """
        before = self.running.get(name)
        if before is not None:
            status = before.end()
            assert status == 0, f"{name} ended with {status}"
        self.running[name] = self._start(name, folder)

    def end(self) -> None:
        """End all."""
        for one in self.running.values():
            one.kill()

    def _start(self, name: str, folder: Path) -> Worker:
        servers = self.campaign.servers
        port, operations_port = (self.ports.setdefault(f"{name}{one}", free_port()) for one in "12")
        prefix = "IZIN_SINK" if name == "sink" else "IZIN_INTAKE"
        module = {"order": "izin.streams", "sink": "izin.sinks"}.get(name, "izin.producers")
        return Worker(
            name,
            servers.settings,
            servers.folder / f"{name}.log",
            module=module,
            folder=folder,
            environment={
                f"{prefix}_PORT": str(port),
                f"{prefix}_OPERATIONS_PORT": str(operations_port),
                "IZIN_KAFKA_LOG_LEVEL": "2",
                "IZIN_LOG_LEVEL": "warning",
                "DATABASE_URL": servers.database_url,
                "IYS_BASE_URL": servers.simulator.address,
                "IYS_USERNAME": USERNAME,
                "IYS_PASSWORD": PASSWORD,
                "IYS_RESULT_DELAY": "PT1.5S",
                "IZIN_SINK_INTERVAL": "PT0.2S",
                "IZIN_PULL_INTERVAL": "PT2S",
            },
        )

    def url(self, name: str) -> str:
        """Return where a process is reached."""
        return f"http://127.0.0.1:{self.ports[f'{name}1']}"


INTAKES = ("intake-1", "intake-2")


@dataclass(slots=True, kw_only=True)
class UpgradeCampaign(PipelineCampaign):
    """Posts, an upgrade and a rollback, and a comparison of everything."""

    former: Path
    seconds: float

    async def run(self) -> UpgradeVerdict:
        """Post all the while; judge."""
        await asyncio.to_thread(self._izin, self.former, "doctor", "--fix", "--no-running")
        await self.configure(tokenLimit=1000, statusLimit=1_000_000, hiddenWindow=0)
        await asyncio.to_thread(publish_key, self.settings, an_api_key())
        await asyncio.to_thread(publish_brand, self.settings)
        processes = Processes(campaign=self, former=self.former)
        try:
            for name in ("sink", "order", *INTAKES):
                processes.replace(name, self.former)
            await self._ready(processes)
            client = Client([f"{processes.url(one)}/v1/consents" for one in INTAKES], self.rate)
            count = int(self.rate * self.seconds)
            posting = asyncio.create_task(client.run(count))
            await asyncio.sleep(self.seconds / _STEPS)
            migrations = await asyncio.to_thread(self._upgrade, processes)
            await asyncio.sleep(self.seconds / _STEPS)
            await asyncio.to_thread(self._go_back, processes)
            await posting
            await asyncio.to_thread(
                self.settle, lambda view: view.behind() == 0 and view.lag().is_settled
            )
        finally:
            processes.end()
        return await self._verdict(client, count, migrations)

    async def _ready(self, processes: Processes) -> None:
        for name in INTAKES:
            url = f"{processes.url(name)}/health/ready"
            await until(lambda url=url: answers(url), UP_WITHIN, what=name)  # type: ignore[misc]

    def _upgrade(self, processes: Processes) -> str:
        """Do what docs/deploying.md says; return what doctor said of the migrations."""
        self.on_progress("upgrade: migrations")
        said = self._izin(_HERE, "doctor", "--fix")
        for name in ("sink", "order", *INTAKES):
            self.on_progress(f"upgrade: {name}")
            processes.replace(name, _HERE)
            self._wait(processes, name)
        return next((line for line in said.splitlines() if "migration" in line), "")

    def _go_back(self, processes: Processes) -> None:
        for name in (*INTAKES, "order", "sink"):
            self.on_progress(f"rollback: {name}")
            processes.replace(name, self.former)
            self._wait(processes, name)

    def _wait(self, processes: Processes, name: str) -> None:
        """Return once a process that was replaced works."""
        if name == "order":
            asyncio.run(
                until(
                    lambda: len(processes.running[name].health()["ready"]) == _PARTITIONS,
                    UP_WITHIN,
                    what=name,
                )
            )
        else:
            url = f"{processes.url(name)}/health/ready"
            asyncio.run(until(lambda: answers(url), UP_WITHIN, what=name))

    def _izin(self, folder: Path, *arguments: str) -> str:
        """Run a command of the release in ``folder``; what doctor finds wrong ends nothing."""
        done = subprocess.run(
            [sys.executable, "-m", "izin.cli", *arguments],
            cwd=folder,
            env={
                **os.environ,
                "COLUMNS": "200",
                "KAFKA_BOOTSTRAP_SERVERS": self.settings.bootstrap_servers,
                "IZIN_PARTITIONS": str(_PARTITIONS),
                "DATABASE_URL": self.servers.database_url,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in {0, 1}, done.stderr
        return done.stdout

    async def _verdict(self, client: Client, count: int, migrations: str) -> UpgradeVerdict:
        topics, codec = self.settings.topics, Codec()
        decided = Counter(
            one.value["event"]["event_id"]
            for one in read_all(self.settings, codec, topics.decisions)
        )
        events = set(client.accepted.values())
        states = {
            one.key: consent_from_avro(one.value)
            for one in read_all(self.settings, codec, topics.desired_consents)
        }
        permitted = {
            one.key: bool(one.value["may_send"])
            for one in read_all(self.settings, codec, topics.permissions)
        }
        register = {key_of(row): row["status"] for row in self.simulator.rows("register")}
        async with self.ledger() as ledger:
            differing = await differences(ledger, states, register, permitted)
            chain = await verify.verify(ledger, ())
        standing = {one.event_id for one in states.values()}
        return UpgradeVerdict(
            posted=count,
            accepted=len(client.accepted),
            migrations=migrations,
            answers=client.answers,
            lost=[*sorted(events - decided.keys()), *sorted(events - standing), *differing],
            # An opt-out that is posted again may count from later once more.
            twice=[
                event
                for name, event in client.accepted.items()
                if decided[event] > 1 and not is_opt_out(name)
            ],
            chain=[str(one) for one in chain.faults],
        )


def main(
    rate: Annotated[float, typer.Option(min=1, help="Posts a second.")] = 200.0,
    seconds: Annotated[float, typer.Option(min=30, help="Of posts.")] = 150.0,
    seed: Seed = 1,
    folder: Annotated[Path, typer.Option(help="Data and logs of the last campaign.")] = Path(
        ".izin/chaos-upgrade"
    ),
) -> None:
    """Upgrade from 0.1.0 and go back while an intake takes posts, then compare."""

    def campaign(show: Show) -> UpgradeVerdict:
        with ExitStack() as stack:
            former = stack.enter_context(former_release(folder))
            servers = stack.enter_context(running_servers(folder, partitions=_PARTITIONS))
            made = UpgradeCampaign(
                servers=servers,
                seed=seed,
                rate=rate,
                former=former.absolute(),
                seconds=seconds,
                on_progress=show,
            )
            return asyncio.run(made.run())

    raise run_stage("upgrade", folder, campaign, report, in_lines=True)


def report(verdict: UpgradeVerdict, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    return RunReport(
        tables=[
            f"{verdict.accepted:,} posts accepted, {seconds:.0f} s: {counted(verdict.answers)}",
            verdict.migrations,
            *listed([*verdict.lost, *verdict.twice, *verdict.chain]),
        ],
        data={
            "answers": dict(verdict.answers),
            "lost": verdict.lost,
            "twice": verdict.twice,
            "chain": verdict.chain,
        },
        figures={
            "upgrade-accepted": 100 * verdict.accepted / verdict.posted,
            "upgrade-lost": len(verdict.lost),
            "upgrade-decided-twice": len(verdict.twice),
            "upgrade-chain": len(verdict.chain),
        },
    )


if __name__ == "__main__":
    start("upgrade", main)
