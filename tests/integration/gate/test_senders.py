"""Senders and the gate: the client, and a file of which a recipient opts out meanwhile."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from izin.schemas.consistency_token import LogPosition, token_of
from izin.subscribers import Channel, Gate, Question
from tests.integration.gate.test_gate_process import receipts, serving
from tests.support.builders import API_KEY, BRAND
from tests.support.published import GateTopics, a_recipient, key_of

pytestmark = [pytest.mark.broker, pytest.mark.timeout(90)]

ASKED: Question = {"brand_code": BRAND, "type": Channel.MESAJ}


async def izin(url: object, *words: object) -> tuple[int, str]:
    """Run a command that asks the gate; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "izin.cli", *map(str, words)),
        env={**os.environ, "IZIN_GATE_URL": str(url), "IZIN_API_KEY": API_KEY},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


def receipt_id(path: Path) -> str:
    """Return the id in the receipt beside a file."""
    return str(json.loads(Path(f"{path}.receipt.json").read_bytes())["id"])


async def test_opt_out_after_a_scrub_is_in_the_second_answer(topics: GateTopics, tmp_path: Path):
    """By the client, by both commands, and by the receipts in the topic."""
    path, scrubbed = tmp_path / "list.csv", tmp_path / "list.scrubbed.csv"
    path.write_text(f"telefon\n{a_recipient(1)}\n{a_recipient(2)}\n12\n", "utf-8")
    async with serving(topics.settings) as (http, _), Gate(str(http.base_url), API_KEY) as gate:
        words = ("scrub", path, f"--brand={BRAND}", "--type=MESAJ", "--campaign=spring")
        code, printed = await izin(http.base_url, *words)
        assert code == 0, printed
        assert scrubbed.read_text("utf-8").splitlines()[1:] == [
            f"{a_recipient(1)};yes;registered",
            f"{a_recipient(2)};yes;registered",
            "12;no;invalid-recipient",
        ]
        written = LogPosition(*topics.event(key_of(1)))
        found = [
            (one.may_send, one.reason, one.violation)
            async for one in gate.check(
                [a_recipient(1), a_recipient(2), "12"], **ASKED, at_least=token_of([written])
            )
        ]
        assert found == [
            (False, "opted-out", None),
            (True, "registered", None),
            (False, "not-registered", "H121"),
        ]
        code, printed = await izin(
            http.base_url, "scrub", scrubbed, "--recheck", f"{scrubbed}.receipt.json"
        )
        assert code == 1, printed
        code, printed = await izin(
            *(http.base_url, "may-send", a_recipient(1)),
            *(f"--brand={BRAND}", "--type=MESAJ", "--class=delivery", "--output=json"),
        )
        exempt = json.loads(printed)
    assert (code, exempt["verdicts"][0]["reason"]) == (0, "exempt")
    stopped = tmp_path / "list.scrubbed.stopped.csv"
    assert stopped.read_text("utf-8").splitlines()[1:] == [f"{a_recipient(1)};no;opted-out"]
    named = [receipt_id(scrubbed), receipt_id(stopped)]
    kept = {record["receipt_id"]: record for _, record in receipts(topics)}
    assert kept.keys() == {*named, exempt["receipt"]}
    assert kept[named[0]]["campaign"] == kept[named[1]]["campaign"] == "spring"
    assert (kept[named[0]]["recipients"], kept[named[1]]["recipients"]) == (3, 2)
