"""``python -m tests.chaos.bodies``: malformed bodies to the intake; ``make chaos STAGE=bodies``.

Webhooks that are mapped, forms, lists, replies and links, damaged by chance, their senders proven:
nothing is answered with 5xx, every event in the topics was named in an answer and is whole, memory
stays bounded, and no line of the log has a secret, a key or a recipient.

It ends with the lines ``bodies``, ``bodies-5xx``, ``bodies-partial``, ``bodies-leaks`` and
``bodies-mib``, ``ok`` or ``short``. Exit codes: 0 all hold, 1 one does not, 2 wrong usage.
``--seed`` and the number of a body, which each fault names, make it again:
``tests.chaos.bodies.making.body``. ``CHAOS_ARGS="--bodies 2000"`` shortens it.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import aiohttp
import typer

from benchmarks.results import RunReport
from izin.consent import read_key
from izin.kafka.bounded_reader import read_all
from izin.kafka.clients import ensure_topics
from izin.local import Kafka, free_port
from izin.local.processes import answers
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import event_from_avro
from tests.chaos.bodies.making import BLOCK, DOMAIN, SECRET, body, proven
from tests.chaos.command import Seed, Show, counted, listed, run_stage, start
from tests.chaos.pipeline import until
from tests.support.builders import API_KEY, BRAND, an_api_key
from tests.support.order.verdict import Worker
from tests.support.published import publish_brand, publish_key

_UP_WITHIN = 60.0
_AT_ONCE = 32
_SENDER = '[sender]\nkind = "hmac"\nsignature = "header:x-signature"\n'
_MAPPINGS: Mapping[str, str] = {
    "segment": """
brands = [100001]
id = "/messageId"
[only]
"/type" = ["track"]
[columns]
"/properties/email" = "email"
"/properties/phone" = "phone"
"/properties/channel" = "type"
"/properties/consent" = "status"
"/timestamp" = "consent_date"
[constants]
source = "HS_WEB"
[values.status]
true = "ONAY"
false = "RET"
""",
    "batch": """
brands = [100001]
time = "unix"
[columns]
"/email" = "email"
"/event" = "status"
"/at" = "consent_date"
[constants]
type = "EPOSTA"
source = "HS_EPOSTA"
[values.status]
unsubscribe = "RET"
""",
    "reply": """
brands = [100001]
[columns]
"/gsm" = "phone"
[constants]
type = "MESAJ"
source = "HS_MESAJ"
date_basis = "received"
[reply]
text = "/message"
""",
}
_SIGNUP = """
brands = [100001]
[columns]
"/phone" = "phone"
"/email" = "email"
"/sms" = "MESAJ.status"
"/news" = "EPOSTA.status"
[constants]
source = "HS_WEB"
[values.status]
on = "ONAY"
off = "RET"
"""


@dataclass(slots=True)
class BodiesVerdict:
    """What came of the bodies."""

    sent: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    named: set[str] = field(default_factory=set)
    """The ids of the events that answers have."""
    failed: list[str] = field(default_factory=list)
    """Bodies that were answered with 5xx, or not at all."""
    partial: list[str] = field(default_factory=list)
    """Events that no answer names, or that are not whole; and such that are named and missing."""
    leaks: list[str] = field(default_factory=list)
    mib: float = 0.0


@dataclass(slots=True, kw_only=True)
class BodiesCampaign:
    """One broker, one intake, and what is posted to it."""

    folder: Path
    bodies: int
    seed: int
    on_progress: Callable[[str], None]

    def run(self) -> BodiesVerdict:
        """Post all; judge."""
        with Kafka(self.folder, free_port(), heap="1g", java_options=()) as kafka:
            settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=4)
            ensure_topics(settings)
            publish_brand(settings)
            publish_key(settings, an_api_key())
            port, log = free_port(), self.folder / "intake.log"
            environment = {
                "IZIN_KAFKA_LOG_LEVEL": "2",
                "IZIN_LOG_LEVEL": "debug",
                "IZIN_INTAKE_PORT": str(port),
                "IZIN_INTAKE_OPERATIONS_PORT": str(free_port()),
                "IZIN_INTAKE_SOURCES": str(self._mappings("sources", _MAPPINGS, _SENDER)),
                "IZIN_INTAKE_FORMS": str(self._mappings("forms", {"signup": _SIGNUP}, "")),
                "IZIN_LINK_SECRETS": json.dumps([SECRET]),
            }
            with Worker(
                "intake", settings, log, module="izin.producers", environment=environment
            ) as intake:
                url = f"http://127.0.0.1:{port}"
                found = asyncio.run(self._send(url))
                if intake.process.poll() is not None:
                    found.failed.append(f"the intake ended with {intake.process.poll()}")
                found.mib = _peak_mib(intake.process.pid)
            self._judge(settings, found)
            found.leaks = leaks_in(log)
        return found

    def _mappings(self, name: str, mappings: Mapping[str, str], sender: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        for mapping, text in mappings.items():
            # Before [columns], for what stands behind a table belongs to it.
            (folder / f"{mapping}.toml").write_text(f"{text}\n{sender}", "utf-8")
            (folder / f"{mapping}.secret").write_text(SECRET, "utf-8")
        return folder

    async def _send(self, url: str) -> BodiesVerdict:
        await until(lambda: answers(f"{url}/health/ready"), _UP_WITHIN, what="intake")
        found, numbers = BodiesVerdict(), iter(range(self.bodies))
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_AT_ONCE)) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for _ in range(_AT_ONCE):
                tasks.create_task(self._post(session, url, numbers, found))
        return found

    async def _post(
        self, session: aiohttp.ClientSession, url: str, numbers: Iterator[int], found: BodiesVerdict
    ) -> None:
        for number in numbers:
            one = body(number, self.seed)
            found.sent += 1
            if number % 1000 == 0:
                self.on_progress(f"{number:,} of {self.bodies:,}")
            try:
                async with session.post(
                    url + one.path, data=one.content, headers=dict(proven(one, API_KEY))
                ) as answer:
                    text = await answer.text()
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError) as error:
                found.failed.append(f"body {number}: {type(error).__name__}")
                continue
            found.answers[f"{one.path.split('/')[2]} {status}"] += 1
            if status >= 500:
                found.failed.append(f"body {number}: {status}")
            elif text.startswith("{"):
                events = json.loads(text).get("events", [])
                found.named |= {event["event_id"] for event in events}

    def _judge(self, settings: KafkaSettings, found: BodiesVerdict) -> None:
        """Compare what is in the topics with what was answered."""
        topics, stored = settings.topics, set[str]()
        for topic in (topics.events, topics.express):
            for record in read_all(settings, Codec(), topic):
                event = event_from_avro(record.value)
                stored.add(event.event_id)
                key = read_key(event, [])
                is_whole = key is not None and key.encode().decode() == record.key
                if not is_whole or event.brand_code != BRAND or event.customer_id == "-":
                    found.partial.append(f"{event.event_id} is not whole")
        unnamed = sum(one.startswith(("opt-out 200", "confirm 200")) for one in found.answers)
        if not unnamed:
            found.partial += [f"{one} is in no answer" for one in stored - found.named]
        found.partial += [f"{one} is in no topic" for one in found.named - stored]


def leaks_in(log: Path) -> list[str]:
    """Return the lines of a ``log`` that have what no log may have."""
    marks = (re.escape(SECRET), re.escape(API_KEY), re.escape(DOMAIN), rf"[+0]\d*{BLOCK}\d{{6}}")
    wanted = re.compile("|".join((*marks, "gAAAA")))
    return [
        f"line {number} has {found[0][:6]}…"
        for number, line in enumerate(log.read_text("utf-8", "replace").splitlines(), 1)
        if (found := wanted.search(line))
    ]


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    (kib,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kib) / 1024


def main(
    bodies: Annotated[int, typer.Option(min=1, help="Bodies to post.")] = 50_000,
    seed: Seed = 1,
    folder: Annotated[Path, typer.Option(help="Data and logs, and the result.")] = Path(
        ".izin/chaos-bodies"
    ),
) -> None:
    """Post malformed bodies to the intake, and judge answers, topics, memory and log."""

    def campaign(show: Show) -> BodiesVerdict:
        return BodiesCampaign(folder=folder, bodies=bodies, seed=seed, on_progress=show).run()

    raise run_stage("bodies", folder, campaign, lambda found, took: report(found, took, seed))


def report(found: BodiesVerdict, seconds: float, seed: int) -> RunReport:
    """Return the report of a campaign."""
    problems: Sequence[Sequence[str]] = (found.failed, found.partial, found.leaks)
    return RunReport(
        tables=[
            f"seed {seed}: {found.sent:,} bodies, {counted(found.answers)}, {seconds:.0f} s",
            *(line for some in problems for line in listed(some)),
        ],
        data={
            "seed": seed,
            "seconds": round(seconds),
            "answers": dict(found.answers),
            "failed": found.failed,
            "partial": found.partial,
            "leaks": found.leaks,
        },
        figures={
            "bodies": found.sent,
            "bodies-5xx": len(found.failed),
            "bodies-partial": len(found.partial),
            "bodies-leaks": len(found.leaks),
            "bodies-mib": found.mib,
        },
    )


if __name__ == "__main__":
    start("bodies", main)
