"""``izin up``: the local stack starts, works, and leaves no process behind."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from prometheus_client import CollectorRegistry

from izin.api.synthetic_opt_outs import ARRIVED, SyntheticOptOuts
from izin.consent import SYNTHETIC_BRAND
from izin.local import Postgres
from izin.local.processes import answers
from izin.local.reservations import free_port
from izin.producers.new_event import utc_now
from izin.runtime.settings import ApiSettings, KafkaSettings
from izin.schemas.codec import Codec
from tests.e2e.stack import (
    ENDED_WITHIN,
    KEPT,
    ROOT,
    a_stack,
    asked,
    assert_in_no_file,
    await_registered,
    environment_of,
    erase_and_wait,
    in_ledger,
    is_registered,
    izin,
    left_behind,
    publish,
)
from tests.support.order.verdict import committed_records
from tests.support.servers.prometheus import prometheus
from tests.support.waiting import until
from tests.support.webhooks import receiving
from tools.generate_monitoring import queries

pytestmark = pytest.mark.e2e

RECEIVER_PORT = "8099"
"""Of the receiver of webhooks in the quick starts; a free one here."""
WORKERS = ("order", "sink", "intake", "feeds", "gate", "webhooks", "api")


def posted(folder: Path, recipient: str, key: str | None = None) -> int:
    """Post a consent to the intake with ``key``, else the stack's own; return the status."""
    return post(folder, recipient, key=key).status_code


def post(
    folder: Path, recipient: str, status: str = "ONAY", *, key: str | None = None
) -> httpx.Response:
    """Post to the intake with ``key``, else the stack's own; return the response."""
    settings = environment_of(folder)
    return httpx.post(
        f"http://127.0.0.1:{settings['IZIN_INTAKE_PORT']}/v1/consents",
        headers={"Authorization": f"Bearer {key or settings['IZIN_API_KEY']}"},
        data={
            "phone": recipient,
            "type": "SMS",
            "status": status,
            "source": "HS_WEB",
            "brand_code": "100001",
        },
        trust_env=False,
    )


def pulled(folder: Path, feed: str, recipient: str) -> dict[str, object]:
    """Return the latest item of a feed about ``recipient``; nothing where it has none."""
    found: dict[str, object] = {}
    for item in items(folder, feed):
        if item["recipient"] == recipient:
            found |= item
    return found


def items(folder: Path, feed: str) -> Iterator[dict[str, object]]:
    """Yield what a feed has for the stack's key."""
    settings = environment_of(folder)
    page: dict[str, object] = {"complete": False}
    while not page["complete"]:
        response = httpx.get(
            f"http://127.0.0.1:{settings['IZIN_FEEDS_PORT']}/v1/{feed}",
            params={"limit": "1"} | ({"after": str(page["next"])} if "next" in page else {}),
            headers={"Authorization": f"Bearer {settings['IZIN_API_KEY']}"},
            timeout=30,
            trust_env=False,
        )
        assert response.status_code == 200, response.text
        page = response.json()
        yield from page["items"]


def synthetic_rows(folder: Path) -> set[tuple[str, str, str, str]]:
    """Return status, state, action and reason of what the ledger has of synthetic opt-outs."""
    query = (
        "SELECT DISTINCT desired_status, state, action, reason FROM consents WHERE brand_code=%s"
    )
    with psycopg.connect(environment_of(folder)["DATABASE_URL"]) as connection:
        return set(connection.execute(query, [SYNTHETIC_BRAND]).fetchall())


def gate_says(folder: Path, recipient: str, **question: str) -> tuple[str, str | None]:
    """Return the reason of the gate's verdict on a text message, and the id of its receipt."""
    settings = environment_of(folder)
    response = httpx.post(
        f"http://127.0.0.1:{settings['IZIN_GATE_PORT']}/v1/may-send",
        headers={"Authorization": f"Bearer {settings['IZIN_API_KEY']}"},
        json={"brand_code": 100001, "type": "MESAJ", "recipients": [recipient], **question},
        trust_env=False,
    )
    assert response.status_code == 200, response.text
    answer = response.json()
    (verdict,) = answer["verdicts"]
    assert verdict["may_send"] is (verdict["reason"] in {"registered", "exempt"})
    return verdict["reason"], answer["receipt"]


def became(folder: Path, response: httpx.Response) -> str:
    """Return the state of the one event that the intake took, as the API says it; empty before
    there is one.
    """
    settings, (event,) = environment_of(folder), response.json()["events"]
    answer = httpx.get(
        f"http://127.0.0.1:{settings['IZIN_API_PORT']}/v1/events/{event['event_id']}",
        headers={"Authorization": f"Bearer {settings['IZIN_API_KEY']}"},
        params={"token": event["token"]},
        trust_env=False,
    )
    assert answer.status_code in {200, 404}, answer.text
    return str(answer.json().get("state", ""))


def kept(folder: Path, receipt: str) -> dict[str, object]:
    """Return the record of a receipt that the gate gave."""
    given = environment_of(folder)
    names = ("KAFKA_BOOTSTRAP_SERVERS", "IZIN_TOPIC_PREFIX")
    settings = KafkaSettings.model_validate({name: given[name] for name in names})
    stored = committed_records(settings, settings.topics.gate_receipts.name)
    (found,) = (one.value() or b"" for one in stored if one.key() == receipt.encode())
    return dict(Codec().decode("GateReceipt", found))


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Have a process do nothing while the block runs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def is_ready(folder: Path) -> bool:
    """Return whether each worker says that it is ready."""
    settings = environment_of(folder)
    return all(
        answers(f"http://127.0.0.1:{settings[name]}/health/ready")
        for name in ("IZIN_STREAM_PORT", "IZIN_SINK_PORT", "IZIN_INTAKE_PORT")
    )


def await_healthy(folder: Path) -> None:
    """Return once ``izin doctor`` finds nothing; it is not asked before the workers are ready."""
    until(lambda: is_ready(folder), within=120)
    until(lambda: asked(folder, "doctor")[0] == 0, within=120)


def pid_of(up: int, mark: str) -> int:
    """Return the child of ``izin up`` whose command line contains ``mark``."""
    (found,) = (
        int(pid)
        for task in Path(f"/proc/{up}/task").glob("*/children")
        for pid in task.read_text().split()
        if mark.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    return found


def test_up_works_survives_kills_and_leaves_no_process(tmp_path: Path) -> None:
    """The doctor finds nothing, consents reach İYS, also one that is posted with the stack's key,
    what was posted can be pulled at once, the gate follows it, keys are known as they are made and
    revoked, and a second run on the folder is refused.

    Killed by their process ids, servers come back by themselves, and events go on to İYS. After
    kill -9 of the command every process ends by itself, and the next run has everything, at İYS
    too: brands, key and consents. An erased person is in no file of ours once nothing retains the
    data, others still are. Ctrl-C leaves no process behind. What was stored is kept.
    """
    folder = tmp_path / "state"
    with a_stack(folder) as process:
        assert len(list(left_behind(folder))) > len(WORKERS)
        assert_everything_works(folder, process.pid)
        settings = (folder / "environment").read_text("utf-8")
        assert_servers_come_back(folder, process)
        assert_all_end_with_the_command(folder, process)
    with a_stack(folder) as process, receiving() as hook:
        assert (folder / "environment").read_text("utf-8") == settings
        assert_everything_is_there(folder)
        erased, kept = erase_and_wait(folder, hook)
        process.send_signal(signal.SIGINT)
        assert process.wait(ENDED_WITHIN) == 0
    assert list(left_behind(folder)) == []
    assert_in_no_file(folder, erased, kept)
    with Postgres(folder, urlsplit(environment_of(folder)["DATABASE_URL"]).port):
        assert in_ledger(folder, KEPT) == ("RET", "accepted")
    assert list(left_behind(tmp_path)) == []


def assert_everything_works(folder: Path, up: int) -> None:
    """Assert that the doctor finds nothing, and that consents reach İYS, feeds and gate."""
    code, findings = asked(folder, "doctor", "--output", "json")
    assert code == 0, findings
    assert {one["state"] for one in json.loads(findings)} == {"ok", "skipped"}
    publish(folder, "0555 000 00 01")
    until(lambda: posted(folder, "0555 000 00 02") == 202, within=60)
    await_registered(folder, "0 (555) 000 00 01")
    await_registered(folder, "0555 000 00 02")
    opt_out = post(folder, "0555 000 00 02", "RET")
    token, phone = opt_out.json()["token"], "+905550000002"
    until(lambda: became(folder, opt_out) == "accepted", within=60)
    until(lambda: bool(pulled(folder, "opt-outs", phone)), within=60)
    until(lambda: pulled(folder, "permissions", phone).get("desired") == "RET", within=60)
    assert pulled(folder, "permissions", phone)["may_send"] is False
    assert gate_says(folder, "0555 000 00 02", at_least=token) == ("opted-out", None)
    assert_opt_outs_flow(folder)
    assert_nobody_is_alerted(folder)
    assert_gate_follows(folder, up)
    assert_every_chart_has_data(folder)
    assert_quick_starts_run(folder)
    assert_key_follows_commands(folder)
    assert_second_run_is_refused(folder)


def assert_opt_outs_flow(folder: Path) -> None:
    """Assert that the API publishes opt-outs of nobody and reads them from the feed, also of a
    recipient that had opted out before; that the ledger has none of them to submit, and that no
    other key sees them.
    """
    given = environment_of(folder)
    url = f"http://127.0.0.1:{given['IZIN_API_OPERATIONS_PORT']}/metrics"
    arrived = 'izin_synthetic_opt_outs_total{outcome="arrived"} 0.0'
    until(lambda: arrived not in httpx.get(url, trust_env=False).text, within=60)
    registry, names = CollectorRegistry(), ("KEY", "INTAKE", "FEEDS")
    settings = ApiSettings.model_validate(
        {f"IZIN_SYNTHETIC_{name}": given[f"IZIN_SYNTHETIC_{name}"] for name in names}
    )
    # A minute a second: of a consent and an opt-out in the same second the opt-out stands.
    begun, seconds = utc_now() - timedelta(minutes=1), count()
    probe = SyntheticOptOuts(
        settings, registry, clock=lambda: begun + timedelta(seconds=next(seconds)), pool=2
    )

    async def arrive(times: int) -> list[str]:
        async with probe.client() as client:
            return [await probe.once(client) for _ in range(times)]

    assert asyncio.run(arrive(2)) == [ARRIVED] * 2
    until(lambda: "ONAY" in {status for status, *_ in synthetic_rows(folder)}, within=30)
    assert asyncio.run(arrive(1)) == [ARRIVED]
    settled = ("not_needed", "nothing", "synthetic")
    until(lambda: {tuple(rest) for _, *rest in synthetic_rows(folder)} == {settled}, within=30)
    brands = {item["brand_code"] for item in items(folder, "opt-outs")}
    assert brands == {100001}


def assert_nobody_is_alerted(folder: Path) -> None:
    """Assert that no log of a stack on which all is well has a line for a person, or colours."""
    for path in (folder / "logs").glob("*.log"):
        text = path.read_text("utf-8")
        assert re.findall('.*"critical".*|.*\x1b.*', text) == [], path.name


def assert_quick_starts_run(folder: Path) -> None:
    """Assert that each command of the page for all roles ends as it should, in an empty folder."""
    page = (ROOT / "docs" / "quickstarts.md").read_text("utf-8")
    here = folder.parent / "quickstarts"
    here.mkdir()
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **environment_of(folder), "PATH": programs}
    page = page.replace(RECEIVER_PORT, str(free_port()))
    for block in re.findall(r"(?s)```sh\n(.*?)```", page):
        assert_ends(block, here, environment)
    events = (here / "received.txt").read_text("utf-8").split()
    assert events == ["test.ping", "None", "consent.opted-out", "+905550000301"]


def assert_ends(block: str, here: Path, environment: dict[str, str]) -> None:
    """Assert that ``bash`` runs ``block`` without a fault; end what it left in the background."""
    written = here / "written.txt"
    with written.open("wb") as output:  # a pipe would stay open as long as the background has it
        shell = subprocess.Popen(
            ["bash", "-e", "-c", block],
            cwd=here,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = shell.wait(timeout=120)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    assert status == 0, f"{block}\n{written.read_text('utf-8')}"


def assert_every_chart_has_data(folder: Path) -> None:
    """Assert that every query of the dashboards has an answer, as Prometheus reads the stack."""
    given = environment_of(folder)
    jobs = {name: f"IZIN_{name.upper()}_OPERATIONS_PORT" for name in WORKERS}
    jobs |= {"order": "IZIN_STREAM_PORT", "webhooks": "IZIN_WEBHOOK_OPERATIONS_PORT"}
    targets = {f"izin-{name}": int(given[port]) for name, port in jobs.items()}
    with prometheus(folder.parent / "prometheus", targets) as server:

        def without_data() -> list[str]:
            return [query for query in sorted({*queries()}) if not server.ask(query)]

        with suppress(AssertionError):
            until(lambda: without_data() == [], within=60)
        assert without_data() == []


def assert_gate_follows(folder: Path, up: int) -> None:
    """Assert that the gate says yes once İYS has a consent, and no as soon as the intake has an
    opt-out, also while the order worker does nothing; that of an exempt message there is a receipt.
    """
    phone = "0555 000 00 04"
    assert posted(folder, phone) == 202
    until(lambda: gate_says(folder, phone) == ("registered", None), within=60)
    with stopped(pid_of(up, "izin.streams")):
        token = post(folder, phone, "RET").json()["token"]
        assert gate_says(folder, phone, at_least=token) == ("opted-out", None)
    assert asked(folder, "may-send", phone, "--brand=100001", "--type=MESAJ")[0] == 1
    reason, receipt = gate_says(folder, phone, message_class="delivery")
    assert (reason, kept(folder, receipt or "")["recipient"]) == ("exempt", "+905550000004")


def assert_key_follows_commands(folder: Path) -> None:
    """Assert that the intake that runs knows a key as soon as it is made, and no more once it is
    revoked: from the command through ledger, outbox and topic.
    """
    code, key = asked(folder, "keys", "create", "shop", "--scope=publish", "--customer=acme")
    assert code == 0
    until(lambda: posted(folder, "0555 000 00 03", key.strip()) == 202, within=60)
    assert asked(folder, "keys", "revoke", "shop", "--execute")[0] == 0
    until(lambda: posted(folder, "0555 000 00 03", key.strip()) == 401, within=60)
    assert posted(folder, "0555 000 00 03") == 202


def assert_second_run_is_refused(folder: Path) -> None:
    """Assert that a run on the folder of another names the option, and leaves the other alone."""
    with izin("up", "--state-dir", str(folder), "--any-ports") as second:
        _, messages = second.communicate(timeout=ENDED_WITHIN)
    assert second.returncode == 4
    assert "--state-dir" in messages
    assert asked(folder, "brands", "list")[0] == 0


def assert_servers_come_back(folder: Path, process: subprocess.Popen[str]) -> None:
    """Assert that servers that are killed are started again, and that events go on to İYS then."""
    for mark in ("bin/postgres", "kafka.Kafka", "iys_simulator"):
        os.kill(pid_of(process.pid, mark), signal.SIGKILL)
    await_healthy(folder)
    publish(folder, "0555 000 00 05")
    await_registered(folder, "0555 000 00 05", within=120)


def assert_all_end_with_the_command(folder: Path, process: subprocess.Popen[str]) -> None:
    """Assert that no process outlives the command that is killed, which said what it restarted."""
    process.kill()
    process.wait(ENDED_WITHIN)
    assert process.stderr is not None
    messages = process.stderr.read()
    for name in ("PostgreSQL 18", "Kafka 4.2.2", "simulator"):
        assert f"{name} ended with exit code -9; starting it again in 0.2 s" in messages
    until(lambda: not list(left_behind(folder)), within=60)


def assert_everything_is_there(folder: Path) -> None:
    """Assert that a run has what the one before it had, and registers what is posted now."""
    await_healthy(folder)
    assert asked(folder, "brands", "list")[0] == 0
    assert all(is_registered(folder, f"0555 000 00 0{number}") for number in (1, 5))
    until(lambda: posted(folder, "0555 000 00 08") == 202, within=60)
    await_registered(folder, "0555 000 00 08", within=120)
