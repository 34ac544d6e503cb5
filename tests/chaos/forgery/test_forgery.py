"""A short campaign on a real ledger; the long one is ``make chaos STAGE=forgery``."""

import json
from random import Random

import pytest

from izin.evidence import rows
from izin.evidence.rows import EvidenceRow
from izin.ledger.history import chain_check
from tests.chaos.forgery import archives, forger
from tests.chaos.forgery.__main__ import ForgeryCampaign, ForgeryVerdict, forged_archive, report


def campaign_of(postgres: str, template: str) -> ForgeryCampaign:
    """Return a short campaign."""
    return ForgeryCampaign(
        postgres=postgres, template=template, seed=5, archives=40, ledgers=3, forgeries=130
    )


@pytest.mark.database
async def test_every_generated_forgery_is_found(postgres: str, ledger_template: str):
    """By each verifier that can see it, and nothing genuine has a fault."""
    found = await campaign_of(postgres, ledger_template).run()
    assert (found.missed, found.faults, found.archives, found.ledgers) == ([], [], 40, 3)
    assert found.found == found.forgeries >= 130
    assert {f"archive, {kind}" for kind in archives.KINDS} <= found.kinds.keys()
    assert len([one for one in found.kinds if one.startswith("ledger, ")]) > len(forger.KINDS) // 2
    figures = report(found, seed=5, seconds=1).figures
    assert (figures["forgery-found"], figures["forgery-missed"]) == (found.found, 0)


@pytest.mark.database
async def test_verifier_that_believes_an_act_is_found(
    postgres: str, ledger_template: str, monkeypatch: pytest.MonkeyPatch
):
    """A campaign that finds nothing missing says nothing."""
    monkeypatch.setattr(chain_check.Loss, "is_published", lambda *_: True)
    monkeypatch.setattr(forger, "KINDS", {"restoration": forger.KINDS["restoration"]})
    campaign = campaign_of(postgres, ledger_template)
    campaign.archives = campaign.ledgers = 1
    campaign.forgeries = 8
    assert any("ledger, restoration" in one for one in (await campaign.run()).missed)


def test_forged_archive_is_the_same_for_the_same_seed():
    """What was missed can be made again."""
    for kind in archives.KINDS:
        (_, one), (_, again) = (forged_archive(Random(f"same {kind}"), kind) for _ in range(2))
        assert one == again


def test_verifier_that_reads_bytes_in_two_ways_is_found(monkeypatch: pytest.MonkeyPatch):
    """As one did whose salts had any length, so that an event's evidence stood as a row."""
    columns = property(lambda row: rows._Columns(*json.loads(row.text)))
    monkeypatch.setattr(EvidenceRow, "columns", columns)
    made, forged = forged_archive(Random(2), "stuffed")
    assert not archives.is_found(forged, made)


def test_report_of_a_campaign_names_what_was_missed():
    """With the seed that makes it again."""
    verdict = ForgeryVerdict(archives=1, ledgers=1)
    verdict.count("ledger, cut", "1/ledger/0", is_found=False)
    found = report(verdict, seed=1, seconds=2)
    assert "ledger, cut (seed 1/ledger/0)" in str(found.tables)
    assert found.figures["forgery-missed"] == 1
