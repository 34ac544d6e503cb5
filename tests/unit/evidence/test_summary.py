"""The summary for people: what it says, and that it is one file that runs nothing.

What stood at an instant, by the facts of an archive: the same as the ledger makes of them.
Lines of İYS's daily files in an archive: their time stamps, and the entries beside them.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from iys_simulator.timestamp_authority import TimestampAuthority

from izin.consent import OriginRank, Source
from izin.evidence.__main__ import main
from izin.evidence.container import UnreadableEvidenceError, unpacked
from izin.evidence.daily_files import COLUMNS, MISSING, UNVERIFIED, WRONG, DailyLines, check_with
from izin.evidence.rows import EvidenceRow, fact_of
from izin.evidence.summary import summary_of
from izin.evidence.verification import DAILY, SUMMARY, Evidence, VerifiedEvidence, state_at, verify
from izin.evidence.words import KINDS, PATHS, SOURCES, TIMESTAMPS, entry
from izin.iys.wire_format import consents
from izin.schemas.timestamps import TimestampState
from tests.contract.test_project_rules import ran
from tests.support.builders import NOON, PHONE, an_iys_origin
from tests.support.evidence.archives import (
    KEY,
    MINUTE,
    a_daily_file,
    a_decision_row,
    a_history,
    a_row,
    a_segment,
    anchors_for,
    some_evidence,
)

LATER = NOON + 10 * MINUTE
TRANSACTION = "c" * 64


def shown(evidence: Evidence) -> str:
    """Return the summary of evidence."""
    return summary_of(evidence.report()).decode()


def page_of(*rows: EvidenceRow) -> str:
    """Return the summary of evidence with these rows alone."""
    return shown(replace(some_evidence(), rows=rows, segments=()))


def test_burden_of_proof_is_whose_who_took_the_consent() -> None:
    """The provider's; or not, where İYS took it from the citizen."""
    ours = "ispat yükümlülüğü hizmet sağlayıcıya aittir"
    theirs = "ispat yükümlülüğü hizmet sağlayıcıya ait değildir"
    origin = an_iys_origin(path="pull")
    through_iys = page_of(a_decision_row(2, source="IYS_WEB", origin="iys", iys=origin))
    assert (ours in PAGE, theirs in PAGE) == (True, False)
    assert (ours in through_iys, theirs in through_iys) == (False, True)
    assert "m. 13" not in through_iys, "no article is known for it"


class Tags(HTMLParser):
    """The tags of a page, and whether each is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002  # the parser gives them
        """Note a tag."""
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close a tag."""
        assert self.open.pop() == tag


PAGE = shown(some_evidence())


def test_summary_is_one_file_in_turkish_that_runs_nothing() -> None:
    """Whole HTML for A4, with its styles within; nothing is loaded from elsewhere."""
    tags = Tags(PAGE)
    assert tags.open == []
    assert not tags.seen & {"script", "link", "img", "iframe", "form", "a"}
    assert '<html lang="tr">' in PAGE
    assert "size: A4" in PAGE
    assert not re.search(r"https?:|url\(|@import", PAGE)


@pytest.mark.parametrize(
    "words",
    [
        PHONE,
        "02.03.2026 12:30:00 anındaki durum",
        "gönderilebilir: onay İYS&#x27;de kayıtlı",
        "Örnek &lt;Marka&gt;",
        "Kayıt &lt;formu&gt; &amp; onay",
        "2026-1",
        "internet sitesi (HS_WEB)",
        "kaydedildi, 02.03.2026 12:02:00",
        "ret bildirimi",
        "yayını okuyan bütün sistemler",
        "RET, 02.03.2026 13:00:00 / RET, 02.03.2026 13:00:00",
        "kampanya",
        "İYS bildirimi (push)",
        "3/12",
        "şikâyet 2026/1",
        "02.03.2026</td>",
        "farklı satırlar var",
        "İYS&#x27;de damga yok",
    ],
)
def test_summary_says_what_the_rows_say(words: str) -> None:
    """In words and Turkish time; what people typed is no markup."""
    assert words in PAGE


def test_consent_that_came_later_is_not_the_one_in_question() -> None:
    """The page says so, for it proves nothing about the message."""
    later = a_decision_row(3, at=NOON + 40 * MINUTE, event_id="event-9")
    page = page_of(a_decision_row(2), later)
    assert page.index("geçerli olan") < page.index("(incelenen andan sonra kaydedilen)")


def test_key_without_a_consent_says_so() -> None:
    """Nothing is left out in silence."""
    page = page_of(a_row(2, "act", {"act": "place legal hold 1", "by": "ada"}, at=NOON - MINUTE))
    said = ("Kayıtlı bir onay yoktur.", "Kayıt yoktur.", "gönderilemez: İYS&#x27;de onay yok")
    assert [one for one in said if one not in page] == []


DATA = {
    "call": {"kind": "batch", "attempt": 2},
    "answer": {"verdict": "data", "code": "H120"},
    "observation": {"by": "pull", "creation_date": NOON.isoformat()},
    "outcome": {"outcome": "refused", "code": "H120"},
    "delivery": {"topic": "permissions", "partition": 1, "offset": 2},
    "act": {"act": "requeue", "by": "ada"},
    "breach": {"due_at": NOON.isoformat()},
    "receipt": {"may_send": False, "reason": "opted-out", "asked_by": "shop"},
    "bootstrap": {"origin": "crm"},
    "unreadable": {"x": 1},
}


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"decision"}))
def test_each_kind_of_movement_has_its_words(kind: str) -> None:
    """Every kind that the history knows, in one line."""
    said = entry({"kind": kind, "status": "RET", "data": DATA[kind], "key": KEY})
    assert said
    assert "{" not in said


def test_fact_that_cannot_be_read_hides_no_other() -> None:
    """Of a schema that this release does not know, or of another shape; it is proven as others."""
    broken = a_decision_row(2)
    broken.decision = b"\xc3\x01 of another release"
    rows = [broken, a_row(3, "call", ["strange"], status="ONAY"), a_decision_row(4)]
    evidence = replace(some_evidence(), rows=rows, segments=())
    page = shown(evidence)
    said = ("Okunamayan kayıt", "bu sürümün okuyamadığı içerik", "ilk kayıt; uygulandı")
    assert [one for one in said if one not in page] == []
    (key,) = evidence.report()["keys"]
    assert (key["then"]["unreadable"], key["then"]["desired"]["status"]) == (2, "ONAY")


def test_every_source_that_is_documented_has_words() -> None:
    """Those of providers, and those that İYS itself sets."""
    at_iys = {"IYS_WEB_YENI", "IYS_KISAMESAJ", "IYS_EPOSTA", "IYS_FRAME_EPOSTA", "IYS_FRAME_SMS"}
    at_iys |= {"IYS_WEB", "IYS_MOBIL", "IYS_CM", "IYS_AHS_HAT_KAPATMA"}
    assert set(SOURCES) == {*map(str, Source), *at_iys}


@pytest.mark.parametrize(
    ("done", "words"),
    [
        ("place legal hold 7", "yasal saklama konuldu, no 7 (ada)"),
        ("repair row", "kayıt, hareketlere göre düzeltildi (ada)"),
        ("something newer", "something newer (ada)"),
    ],
)
def test_act_of_a_person_is_in_turkish(done: str, words: str) -> None:
    """With its number; one that has no words is as the history has it."""
    assert entry({"kind": "act", "data": {"act": done, "by": "ada"}, "status": None}) == words


def stood(rows: Sequence[EvidenceRow], at: datetime | None = None) -> dict[str, Any]:
    """Return what stood."""
    return state_at("BIREYSEL", [fact_of(one) for one in rows], until=at)


@pytest.mark.parametrize(
    ("minutes", "registered", "may_send", "reason"),
    [
        (-1, "UNKNOWN", False, "not-registered"),
        (0.5, "UNKNOWN", False, "awaiting-iys"),
        (3, "ONAY", True, "registered"),
        (30, "ONAY", True, "registered"),
        (61, "RET", False, "opted-out"),
    ],
)
def test_state_is_that_of_its_instant(
    minutes: float, registered: str, may_send: bool, reason: str
) -> None:
    """Before the consent, until İYS has it, while it stands, and once the citizen left."""
    found = stood(a_history(), NOON + minutes * MINUTE)
    assert (found["registered"]["status"], found["may_send"], found["reason"]) == (
        registered,
        may_send,
        reason,
    )
    assert found["desired"] is None or datetime.fromisoformat(found["known_at"]) <= (
        NOON + minutes * MINUTE
    )


def test_restored_opt_in_is_under_the_opt_out_before_it() -> None:
    """İYS holds an opt-in of before; that the latest opt-out is newer, the restoration says."""
    said = {"origin": "web", "origin_rank": 0, "source": "HS_WEB", "registrable": True}
    said |= {"consent_date": NOON.isoformat(), "latest_onay_at": NOON.isoformat()}
    said |= {"latest_ret_at": (NOON - MINUTE).isoformat()}
    before = (NOON - 2 * MINUTE).isoformat()
    found = stood(
        [
            a_row(1, "bootstrap", said, event_id="event-5", status="ONAY"),
            observed(2, "ONAY", LATER, transaction_id=TRANSACTION, consent_date=before),
        ]
    )
    assert (found["may_send"], found["reason"]) == (False, "opted-out")


def test_opt_out_is_desired_again_behind_a_void_opt_in() -> None:
    """As the ledger desires it: İYS may hold an opt-in of before both."""
    opt_out = a_decision_row(1, at=NOON - MINUTE, event_id="event-0", status="RET")
    found = stood([opt_out, a_decision_row(2), an_outcome(3, "expired")])
    assert found["desired"]["status"] == "RET"


def test_opt_out_of_a_stream_that_nobody_knows_is_a_citizens() -> None:
    """As the law ranks it; a genuine archive with it is no forgery."""
    origin = an_iys_origin(creation_date=NOON, transaction_id=TRANSACTION, stream="OTHER")
    assert stood([an_opt_out(1, NOON, iys=origin)])["desired"]["origin_rank"] == OriginRank.IYS


def observed(place: int, status: str, at: datetime, **data: object) -> EvidenceRow:
    """Return what İYS showed in a query."""
    said = {
        "by": "status",
        "creation_date": at.isoformat(),
        "consent_date": None,
        "source": None,
        "transaction_id": None,
    }
    return a_row(place, "observation", said | data, at=at, status=status)


def an_opt_out(place: int, at: datetime, **event: object) -> EvidenceRow:
    """Return a citizen's opt-out at İYS."""
    origin = an_iys_origin(creation_date=at, transaction_id=TRANSACTION, observed_at=at)
    fields = {"event_id": "event-9", "status": "RET", "source": "IYS_WEB", "origin": "iys"}
    return a_decision_row(place, at=at, **fields | {"iys": origin} | event)


def an_outcome(place: int, outcome: str) -> EvidenceRow:
    """Return the outcome of the consent."""
    data = {"outcome": outcome, "code": "H467", "message": None, "attempt": 1}
    return a_row(place, "outcome", data, at=LATER, event_id="event-1", status="ONAY")


AUTHORITY, STRANGER = TimestampAuthority(), TimestampAuthority()
HASH = hashlib.sha384(b"a day").hexdigest()
AT = NOON + 900 * MINUTE
VERIFIED = a_daily_file(
    hash_value=HASH, timestamp_reply=AUTHORITY.reply(HASH, AT, 7), timestamp_state="verified"
)
OBSERVED = {
    "by": "pull",
    "creation_date": (NOON + 60 * MINUTE).isoformat(),
    "consent_date": None,
    "source": "IYS_WEB",
    "transaction_id": "b" * 64,
}


def evidence_with(*files: DailyLines, observed: bool = True) -> Evidence:
    """Return evidence with daily files, and a pull that showed what their line says."""
    rows = list(some_evidence().rows)
    if observed:
        rows.append(a_row(13, "observation", OBSERVED, at=NOON + 61 * MINUTE, status="RET"))
    segments = [a_segment(rows, first=2, end=16)]
    return replace(some_evidence(), rows=rows, segments=segments, daily_files=files)


def verified(evidence: Evidence, roots: Path | None = None) -> VerifiedEvidence:
    """Return what is found of evidence, with anchors and trusted roots from outside."""
    return verify(evidence.packed(), anchors_for(evidence), check_with(roots))


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of the roots that are trusted."""
    file = tmp_path_factory.mktemp("roots") / "roots.pem"
    file.write_bytes(AUTHORITY.root_pem)
    return file


def test_line_and_timestamp_are_verified(roots: Path) -> None:
    """The line stands in a proven row too, and the time stamp is of İYS's hash."""
    found = verified(evidence_with(VERIFIED), roots)
    assert (found.faults, found.is_proven, found.is_computed) == ((), True, True)
    (one,) = found.daily_files
    assert (one.lines, one.in_history, one.timestamp) == (1, 1, "verified")
    assert (one.timestamped_at, one.note, one.hash_value) == (AT, None, HASH)
    assert not any(PHONE in line for line in found.lines())


def test_timestamp_without_roots_is_unverified() -> None:
    """Which is no fault; the output says what is needed."""
    found = verified(evidence_with(VERIFIED))
    assert found.is_proven
    assert "time stamp of its hash unverified (bring the roots" in found.lines()[0]


@pytest.mark.parametrize(
    "change",
    [
        {"hash_value": hashlib.sha384(b"another day").hexdigest()},
        {"timestamp_reply": b"no reply"},
        {"timestamp_reply": STRANGER.reply(HASH, AT, 7)},
    ],
    ids=["hash", "reply", "signer"],
)
def test_wrong_timestamp_is_found(roots: Path, change: dict[str, Any]) -> None:
    """Of another file, no reply at all, or signed by nobody that is trusted."""
    file = replace(VERIFIED, **change)
    found = verified(evidence_with(file), roots)
    (fault,) = found.faults
    assert fault.startswith("the time stamp of the daily file of 2026-03-02 is wrong: ")
    # One that the archive calls wrong itself is no fault of the archive.
    found = verified(evidence_with(replace(file, timestamp_state="wrong")), roots)
    assert (found.is_proven, found.daily_files[0].timestamp) == (True, "wrong")


@pytest.mark.parametrize(
    "change", [{"timestamp_reply": None}, {"timestamp_state": "missing"}, {"timestamp_state": None}]
)
def test_timestamp_is_stated_with_its_reply(change: dict[str, Any]) -> None:
    """A state alone would say what nobody can verify."""
    found = verified(evidence_with(replace(VERIFIED, **change)))
    assert "states a time stamp otherwise than it brings one" in found.faults[0]


@pytest.mark.parametrize("column", ["creationDate", "transactionId", "consentDate", "source"])
def test_altered_line_stands_in_no_row(column: str) -> None:
    """With every digest computed anew: then the page says that the history does not have it."""
    cells = VERIFIED.lines[0].split(",")
    cells[COLUMNS.index(column)] = "2026-03-02 13:00:01"
    (one,) = verified(evidence_with(replace(VERIFIED, lines=(",".join(cells),)))).daily_files
    assert (one.lines, one.in_history) == (1, 0)
    assert verified(evidence_with(VERIFIED, observed=False)).daily_files[0].in_history == 0


@pytest.mark.parametrize(
    ("old", "new"), [(PHONE, "+905550000002"), ("MESAJ", "EPOSTA"), ("BIREYSEL", "TACIR")]
)
def test_line_of_another_key_is_found(old: str, new: str) -> None:
    """It would open what is somebody else's."""
    file = replace(VERIFIED, lines=(*VERIFIED.lines, VERIFIED.lines[0].replace(old, new)))
    (fault,) = verified(evidence_with(file)).faults
    assert "has a line of another recipient" in fault


def test_short_line_of_the_key_is_read() -> None:
    """Of columns that this release does not know; it is in no row."""
    found = verified(evidence_with(replace(VERIFIED, lines=(f",,{PHONE},BIREYSEL,MESAJ",))))
    assert (found.is_proven, found.daily_files[0].in_history) == (True, 0)


def test_archive_without_lines_says_nothing_of_daily_files() -> None:
    """No file and no section of the page."""
    files, _ = unpacked(evidence_with().packed())
    assert DAILY not in files
    assert "günlük hareket dosyaları" not in files[SUMMARY].decode()
    shown = unpacked(evidence_with(VERIFIED).packed())[0][SUMMARY].decode()
    assert "kendileri bu arşivde değildir" in shown
    assert (HASH in shown, "3/13" in shown, "doğrulandı" in shown) == (True, True, True)


def test_file_is_the_same_after_the_archive() -> None:
    """And what is no daily file is refused."""
    assert DailyLines.from_json(VERIFIED.to_json()) == VERIFIED
    for change in (
        *({"timestamp_reply": "no base64"}, {"hash_value": "no hash"}, {"lines": None}),
        {"more": 1},
    ):
        with pytest.raises(UnreadableEvidenceError, match="no daily file"):
            DailyLines.from_json(VERIFIED.to_json() | change)


def test_names_are_those_of_the_product() -> None:
    """The verifier has none of its own."""
    assert consents.COLUMNS == COLUMNS
    assert [
        *(TimestampState.MISSING, TimestampState.UNVERIFIED, TimestampState.WRONG),
    ] == [MISSING, UNVERIFIED, WRONG]
    assert TIMESTAMPS.keys() == set(TimestampState)
    assert ("daily" in PATHS, "file" in PATHS) == (True, False)


def test_command_takes_the_roots(
    tmp_path: Path, roots: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that has none is named, with the exit code of a file that cannot be read."""
    archive, evidence = tmp_path / "evidence.zip", evidence_with(VERIFIED)
    archive.write_bytes(evidence.packed())
    anchors = tmp_path / "anchors.jsonl"
    (((shard, place), link),) = anchors_for(evidence).items()
    anchors.write_text(json.dumps({"shard": shard, "place": place, "link": link}) + "\n")
    given = [str(archive), "--anchors", str(anchors), "--roots"]
    assert main([*given, str(roots)]) == 0
    assert "time stamp of its hash verified\n" in capsys.readouterr().out
    assert main([*given, str(anchors)]) == 3
    assert "has no certificates" in capsys.readouterr().err
    code = (
        f"from izin.evidence.__main__ import main; raise SystemExit(main({[*given, str(roots)]}))"
    )
    light = ran(code)
    assert (light.returncode, light.stderr) == (0, "")
    assert "unverified (it needs rfc3161-client" in light.stdout
