"""İYS's own history of a recipient, asked for by a person: kept, compared, shown and proven."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from izin.evidence.container import UnprovenHistoryError, unpacked
from izin.evidence.iys_history import ANSWERS, ASKED, ONLY_AT_IYS, STANDING, is_answer
from izin.evidence.rows import EvidenceRow
from izin.evidence.verification import REPORT, SUMMARY, verify
from izin.iys.errors import CallError, ThrottledError
from izin.iys.rate_limit import HISTORY
from izin.ledger import reads
from izin.ledger.history.verify import verify as ledger_verify
from izin.runtime.settings import KafkaSettings
from izin.views import acts, iys_history
from izin.views.acts import ActSelection
from izin.views.explanation import Explanation
from tests.integration.evidence.test_collection import collected, published
from tests.integration.ledger.test_history import tampered
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    Izin,
    SinkHarness,
    a_phone,
    acts as recorded_acts,
    ended,
    kafka_environment,
    onay,
    set_environment,
)
from tests.support.builders import BRAND, PHONE, a_key
from tests.support.simulator import PASSWORD, USERNAME

pytestmark = pytest.mark.database
KEY = str(a_key(recipient=PHONE))


async def asked(harness: SinkHarness) -> dict[str, Any]:
    """Ask İYS, and return its history of our recipient beside ours."""
    rows = await reads.rows(harness.ledger, [KEY])
    await iys_history.ask(harness.ledger, harness.context.client, rows, by="ada")
    return (await iys_history.found(harness.ledger, [KEY]))[KEY]


async def test_history_at_iys_is_kept_and_agrees(harness: SinkHarness, tmp_path: Path):
    """What we registered and what the citizen did stand in both; the archive has the answer's
    bytes, and is proven with them.
    """
    await harness.register_onay()
    harness.citizen("RET", then=A_SECOND * 5)
    await harness.ingest(*await harness.pull())
    found = await asked(harness)
    assert [(one["status"], bool(one["entries"])) for one in found["movements"]] == [
        ("RET", True),
        ("ONAY", True),
    ]
    assert (found["differences"], found["asked_by"], found["held"]) == ([], "ada", "RET")
    (act,) = await recorded_acts(harness.ledger, ASKED)
    (page,) = act["after"][ANSWERS]
    assert [one["status"] for one in json.loads(page)["list"]] == ["RET", "ONAY"]
    evidence = await collected(harness)
    found_by_others = verify(evidence.packed(), await published(harness, tmp_path))
    assert (found_by_others.faults, found_by_others.is_proven) == ((), True)
    files, _ = unpacked(evidence.packed())
    (key,) = json.loads(files[REPORT])["keys"]
    assert key["iys_history"]["differences"] == []
    assert page in [
        one["data"]["after"][ANSWERS][0] for one in key["entries"] if one["kind"] == "act"
    ]
    assert "İYS'nin kendi izin geçmişi" in files[SUMMARY].decode()


async def test_opt_out_that_only_iys_has_is_named(harness: SinkHarness):
    """A citizen opted out a moment ago: both differences say so, and asking changes nothing."""
    await harness.register_onay()
    before = await harness.row()
    harness.citizen("RET", then=A_SECOND * 5)
    found = await asked(harness)
    assert [(one["what"], one["status"]) for one in found["differences"]] == [
        (ONLY_AT_IYS, "RET"),
        (STANDING, "RET"),
    ]
    sentences = list(iys_history.differences(KEY, found))
    assert "RET IYS_WEB of" in sentences[0]
    assert f"was taken to be ONAY: izin iys sweep start --brand {BRAND} --execute" in sentences[1]
    assert await harness.row() == before
    await harness.ingest(*await harness.pull())
    (known,) = (await iys_history.found(harness.ledger, [KEY])).values()
    assert [one["what"] for one in known["differences"]] == [STANDING]


async def test_forged_answer_in_an_archive_is_named(harness: SinkHarness, tmp_path: Path):
    """Whoever hands the archive on changes what İYS said, and all that follows from it."""
    await harness.register_onay()
    await asked(harness)
    evidence = await collected(harness)
    (answer,) = [row for row in evidence.rows if is_answer(row.columns.kind, row.columns.data)]
    forged = EvidenceRow(
        answer.shard, answer.text.replace("ONAY", "RET"), answer.decision, answer.salt
    )
    rows = [forged if row is answer else row for row in evidence.rows]
    found = verify(replace(evidence, rows=rows).packed(), await published(harness, tmp_path))
    place = f"{answer.columns.place} of shard {answer.shard}"
    assert found.faults == (f"İYS's own history in row {place} is not the one that was chained",)


async def test_forged_answer_in_the_ledger_is_named(harness: SinkHarness):
    """Whoever owns the database changes what İYS said: no archive is made, and the row is named."""
    await harness.register_onay()
    await asked(harness)
    await tampered(
        harness.ledger,
        "UPDATE history SET data = replace(data::text, 'ONAY', 'RET')::json WHERE kind = 'act' "
        f"AND key = '{KEY}'",
    )
    with pytest.raises(UnprovenHistoryError, match="izin ledger verify"):
        await collected(harness)
    (place,) = await harness.ledger.fetch(
        "SELECT shard, place FROM history WHERE kind = 'act' AND key = %(key)s", {"key": KEY}
    )
    faults = (await ledger_verify(harness.ledger, ())).faults
    assert (place["shard"], place["place"]) in [(one.shard, one.place) for one in faults]


async def test_histories_of_an_hour_are_counted_for_all(harness: SinkHarness):
    """The hundred are shared by every process behind the address, and İYS's own limit is not met:
    the next one is refused here, with when it is free again.
    """
    await harness.register_onay()
    fill = (
        "INSERT INTO rate_limit_minutes (egress_address, operation, minute, calls) VALUES "
        "(%(address)s, %(operation)s, date_trunc('minute', clock_timestamp()), 99)"
    )
    async with harness.ledger.transaction() as connection:
        await connection.execute(fill, {"address": harness.pacer._address, "operation": HISTORY})
    await asked(harness)
    assert harness.iys.calls("history") == 1
    with pytest.raises(ThrottledError, match="hour's calls of history are spent") as caught:
        await asked(harness)
    assert caught.value.retry_after is not None
    assert timedelta(0) < caught.value.retry_after <= timedelta(minutes=61)
    assert harness.iys.calls("history") == 1


async def test_answers_before_an_error_are_kept(harness: SinkHarness):
    """Each answer is kept as soon as it is there: what was asked costs one of a hundred."""
    second = str(a_key(recipient=a_phone(2)))
    await harness.register(onay(minutes=60), onay(a_phone(2), minutes=60))
    harness.iys.inject_fault("history", status=500, code="H103", after=1)
    rows = await reads.rows(harness.ledger, [KEY, second])
    with pytest.raises(CallError):
        await iys_history.ask(harness.ledger, harness.context.client, rows, by="ada")
    assert len(await recorded_acts(harness.ledger, ASKED)) == 1


async def test_answer_is_no_text_in_words(harness: SinkHarness):
    """Acts and the history name it; its recipients stay in the row of their key."""
    await harness.register_onay()
    await asked(harness)
    (found,) = [
        one for one in await acts.page(harness.ledger, ActSelection()) if one.data["act"] == ASKED
    ]
    assert Explanation().changes(found.data) == []
    assert PHONE not in json.dumps(found.data)


@pytest.fixture
def at_simulator(
    with_topics: SinkHarness,
    kafka_settings: KafkaSettings,
    izin: Izin,
    monkeypatch: pytest.MonkeyPatch,
) -> Izin:
    """Give what runs a command whose settings lead to the simulator and to this test's topics."""
    given = {
        "IYS_BASE_URL": with_topics.iys.address,
        "IYS_USERNAME": USERNAME,
        "IYS_PASSWORD": PASSWORD,
        "IYS_REQUESTS_PER_SECOND": "500",
        "IZIN_ACTOR": "ada",
        **kafka_environment(kafka_settings),
    }
    set_environment(monkeypatch, given)
    return izin


@pytest.mark.broker
async def test_commands_ask_and_show_the_last_answer(
    with_topics: SinkHarness, at_simulator: Izin, tmp_path: Path
):
    """``izin explain --ask`` asks and shows; without it the last answer is shown; so it is in the
    archive, which is verified alone.
    """
    harness = with_topics
    await harness.register_onay()
    assert "own history" not in ended(await at_simulator("explain", PHONE), 0).stdout
    harness.citizen("RET", then=A_SECOND * 5)
    shown = ended(await at_simulator("explain", PHONE, "--ask"), 0).stdout
    for words in ("İYS's own history, asked by ada", "İYS alone has RET", "sweep start --brand"):
        assert words in shown
    assert '"totalCount"' not in shown
    again = json.loads(ended(await at_simulator("explain", PHONE, "--output=json"), 0).stdout)
    assert [one["what"] for one in again["iys_history"][KEY]["differences"]] == [
        ONLY_AT_IYS,
        STANDING,
    ]
    assert harness.iys.calls("history") == 1
    archive, anchors = tmp_path / "evidence.zip", tmp_path / "anchors.jsonl"
    words = ("--brand", BRAND, "--reason=complaint", "--out", archive)
    ended(await at_simulator("evidence", PHONE, *words, "--ask"), 0)
    assert harness.iys.calls("history") == 2
    await published(harness, tmp_path)
    verified = ended(await at_simulator("evidence", "verify", archive, "--anchors", anchors), 0)
    assert "no faults" in verified.stdout + verified.stderr
    (key,) = json.loads(unpacked(archive.read_bytes())[0][REPORT])["keys"]
    assert [one["what"] for one in key["iys_history"]["differences"]] == [ONLY_AT_IYS, STANDING]
