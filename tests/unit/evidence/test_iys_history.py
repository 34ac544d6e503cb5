"""İYS's own history in an archive: compared with ours, and named where it was forged."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from izin.consent import TURKEY
from izin.evidence.container import LIST, dumped, packed, unpacked
from izin.evidence.iys_history import (
    ANSWERS,
    ASKED,
    ONLY_AT_IYS,
    ONLY_HERE,
    OTHERWISE,
    STANDING,
)
from izin.evidence.rows import EvidenceRow
from izin.evidence.verification import REPORT, SUMMARY, Evidence, verify
from tests.support.builders import NOON, PHONE
from tests.support.evidence.archives import (
    MINUTE,
    a_row,
    a_segment,
    anchors_for,
    some_evidence,
)

OURS, CITIZENS, OTHERS = "a" * 64, "b" * 64, "c" * 64
ASKED_AT = NOON + 70 * MINUTE


def a_movement(
    transaction_id: str, status: str, at: datetime, **fields: object
) -> dict[str, object]:
    """Return a movement as İYS's history has it."""
    return {
        "consentDate": wire(at),
        "creationDate": wire(at),
        "source": "IYS_WEB" if status == "RET" else "HS_WEB",
        "recipient": PHONE,
        "recipientType": "BIREYSEL",
        "status": status,
        "type": "MESAJ",
        "transactionId": transaction_id,
        **fields,
    }


def wire(at: datetime) -> str:
    """Return an instant as İYS writes it."""
    return f"{at.astimezone(TURKEY):%Y-%m-%d %H:%M:%S}"


REGISTERED = a_movement(OURS, "ONAY", NOON + 2 * MINUTE, consentDate=wire(NOON))
WITHDRAWN = a_movement(CITIZENS, "RET", NOON + 60 * MINUTE)


def a_page(*movements: Mapping[str, object]) -> str:
    """Return a page of İYS's history as it answers it."""
    total = {"totalCount": len(movements), "pageSize": len(movements), "offset": 0}
    return json.dumps({"list": list(movements), "pagination": total}, ensure_ascii=False)


def an_answer(*pages: str, place: int = 15) -> EvidenceRow:
    """Return the row of our history that has an answer of İYS."""
    data = {"act": ASKED, "by": "ada", "before": {}, "after": {ANSWERS: list(pages)}}
    return a_row(place, "act", data, at=ASKED_AT, source=f"act/{place}")


def evidence_of(*pages: str) -> Evidence:
    """Return evidence with these pages, beside all that other evidence has."""
    usual = some_evidence()
    rows = [*usual.rows, an_answer(*pages)]
    return replace(usual, rows=rows, segments=[a_segment(rows, first=2, end=16)])


def said(evidence: Evidence) -> dict[str, Any]:
    """Return what the report has of İYS's own history."""
    found = evidence.report()["keys"][0]["iys_history"]
    assert found is not None
    return dict(found)


def differences(*movements: Mapping[str, object]) -> list[tuple[str, str, str]]:
    """Return how İYS's history with these movements differs from ours."""
    found = said(evidence_of(a_page(*movements)))["differences"]
    return [(one["what"], one["status"], one["transaction_id"]) for one in found]


def test_answer_stands_in_the_archive_and_is_proven() -> None:
    """Byte for byte, with the entries of ours that are the same movement; and in the summary."""
    page = a_page(WITHDRAWN, REGISTERED)
    evidence = evidence_of(page)
    found = verify(evidence.packed(), anchors_for(evidence))
    assert (found.faults, found.is_proven) == ((), True)
    files, _ = unpacked(evidence.packed())
    key = json.loads(files[REPORT])["keys"][0]
    assert key["entries"][-1]["data"]["after"][ANSWERS] == [page]
    history = key["iys_history"]
    assert history["differences"] == []
    assert (history["asked_by"], history["place"], history["held"]) == ("ada", 15, "RET")
    assert [(one["status"], one["entries"]) for one in history["movements"]] == [
        ("RET", [{"shard": 3, "place": 12}]),
        ("ONAY", [{"shard": 3, "place": 5}]),
    ]
    summary = files[SUMMARY].decode()
    assert "İYS'nin kendi izin geçmişi" in summary
    assert "Kayıtlarımızla farklar: yok." in summary
    assert OURS in summary


def test_archive_says_nothing_of_a_history_that_was_not_asked_for() -> None:
    """Neither in the report nor in the summary."""
    evidence = some_evidence()
    assert evidence.report()["keys"][0]["iys_history"] is None
    assert "izin geçmişi" not in unpacked(evidence.packed())[0][SUMMARY].decode()


def test_pages_of_one_answer_are_one_history() -> None:
    """İYS's history comes in pages of a hundred."""
    history = said(evidence_of(a_page(WITHDRAWN), a_page(REGISTERED)))
    assert [one["status"] for one in history["movements"]] == ["RET", "ONAY"]
    assert history["differences"] == []


def test_movement_that_only_one_history_has_is_named() -> None:
    """At İYS: one that we missed. Here: one that İYS's history does not show."""
    missed = a_movement(OTHERS, "ONAY", NOON - MINUTE)
    assert differences(WITHDRAWN, REGISTERED, missed) == [(ONLY_AT_IYS, "ONAY", OTHERS)]
    assert differences(WITHDRAWN) == [(ONLY_HERE, "ONAY", OURS)]


def test_movement_with_other_words_is_named() -> None:
    """Of one transaction, with another source or another date; in which case names are spelt is
    no difference.
    """
    for changed in ({"source": "HS_CAGRI_MERKEZI"}, {"creationDate": wire(NOON)}):
        withdrawn = {**WITHDRAWN, **changed}
        ((what, _, transaction), *_) = differences(withdrawn, REGISTERED)
        assert (what, transaction) == (OTHERWISE, CITIZENS)
    lowered = {name.lower(): value for name, value in WITHDRAWN.items()}
    assert differences(lowered, REGISTERED) == []


@pytest.mark.parametrize(
    ("movements", "status"), [([REGISTERED], "ONAY"), ([], "NONE")], ids=["consent", "nothing"]
)
def test_last_movement_that_is_not_what_was_held_is_named(
    movements: list[Mapping[str, object]], status: str
) -> None:
    """The citizen's opt-out was known here, and İYS's history ends before it."""
    found = [one[:2] for one in differences(*movements)]
    assert (STANDING, status) in found
    assert (ONLY_HERE, "RET") in found


def test_movements_of_one_second_agree_if_one_does() -> None:
    """They share a transaction, and İYS documents no order among them."""
    both = a_movement(CITIZENS, "ONAY", NOON + 60 * MINUTE)
    assert differences(both, WITHDRAWN, REGISTERED) == [(ONLY_AT_IYS, "ONAY", CITIZENS)]


def test_what_came_after_the_answer_is_not_missed_in_it() -> None:
    """A movement that İYS made later cannot stand in it; and the last answer counts."""
    usual = some_evidence()
    early = an_answer(a_page(REGISTERED), place=10)
    rows = [*usual.rows, replace_time(early, NOON + 30 * MINUTE)]
    evidence = replace(usual, rows=rows, segments=[a_segment(rows, first=2, end=16)])
    assert said(evidence)["differences"] == []
    rows.append(an_answer(a_page(WITHDRAWN, REGISTERED)))
    later = replace(usual, rows=rows, segments=[a_segment(rows, first=2, end=16)])
    assert said(later)["place"] == 15


def replace_time(row: EvidenceRow, at: datetime) -> EvidenceRow:
    """Return an answer that came at another instant."""
    data = json.loads(row.text)[9]
    return a_row(row.columns.place, "act", data, at=at, source=row.columns.source)


def test_forged_answer_is_named() -> None:
    """Whoever changes it in an archive changes the row that was chained."""
    evidence = evidence_of(a_page(WITHDRAWN, REGISTERED))
    forged = an_answer(a_page(REGISTERED))
    rows = [forged if row.columns.place == 15 else row for row in evidence.rows]
    lying = replace(evidence, rows=rows)
    found = verify(lying.packed(), anchors_for(evidence))
    assert found.faults == (
        "İYS's own history in row 15 of shard 3 is not the one that was chained",
    )


@pytest.mark.parametrize(
    "page",
    [
        a_page({**WITHDRAWN, "recipient": "+905550000002"}),
        a_page({**WITHDRAWN, "type": "ARAMA"}),
        a_page({**WITHDRAWN, "recipientType": "TACIR"}),
        a_page({"recipient": PHONE}),
        '{"list": [1]}',
        '{"list": 1}',
        "[]",
        "no JSON",
    ],
)
def test_answer_that_is_no_history_of_its_key_is_named(page: str) -> None:
    """Even where the chain was made anew with it."""
    evidence = evidence_of(page)
    found = verify(evidence.packed(), anchors_for(evidence))
    assert found.faults == ("row 15 of shard 3 has an answer of İYS that is no history of its key",)
    history = said(evidence)
    assert (history["is_readable"], history["movements"], history["differences"]) == (False, [], [])


def test_report_that_hides_a_difference_is_found() -> None:
    """What is said of the answer is computed again from the rows."""
    evidence = evidence_of(a_page(WITHDRAWN))
    files, _ = unpacked(evidence.packed())
    del files[LIST]
    report = json.loads(files[REPORT])
    report["keys"][0]["iys_history"]["differences"] = []
    files[REPORT] = dumped(report)
    found = verify(packed(files), anchors_for(evidence))
    assert any(fault.startswith(REPORT) for fault in found.faults)
