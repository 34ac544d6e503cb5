"""What earlier releases wrote is read by this one, and goes on."""

import base64
from pathlib import Path
from shutil import copytree

import pytest

from izin.ledger import offsets
from izin.ledger.db import Ledger, pending
from izin.ledger.db.migrate import migrate
from izin.ledger.history import verify
from izin.replay.ledger.rebuild import LedgerRebuild, differing_rows
from izin.runtime.plan import Selection
from izin.runtime.settings import LedgerSettings
from izin.schemas.codec import Codec
from izin.schemas.records import consent_to_avro
from izin.streams.state.packing import LAYOUT, Packing
from tests.integration.ledger.test_erasure import anchor_writer
from tests.integration.replay.ledger.test_rebuild import every_kind
from tests.integration.sinks.sink_harness import TOPIC, SinkHarness, a_phone, onay, ret
from tests.integration.upgrades import kept

pytestmark = pytest.mark.database


@pytest.fixture(params=kept.RELEASES, ids=lambda one: one.name)
def release(request: pytest.FixtureRequest) -> Path:
    """Give the folder of each release."""
    folder: Path = request.param
    return folder


async def test_this_version_is_kept(
    harness: SinkHarness, ledger: Ledger, ledger_settings: LedgerSettings, tmp_path: Path
):
    """The folder of a new version is written here; once committed, it never changes."""
    await every_kind(harness)
    await harness.submit_opt_out(ret(a_phone(11)))
    await harness.submit_bulk(onay(a_phone(12)))
    anchors = tmp_path / kept.ANCHORS
    await anchor_writer(ledger, anchors).anchor()
    await harness.ingest(ret(a_phone(13)))
    written = tmp_path / "written"
    kept.write(written, kept.RECORDS, kept.records())
    kept.write(written, kept.STATE, kept.state())
    (written / kept.ANCHORS).write_bytes(anchors.read_bytes())
    kept.dump(ledger_settings.database_url.get_secret_value(), written / kept.LEDGER)
    if kept.THIS.is_dir():
        return
    copytree(written, kept.THIS)
    pytest.fail(f"{kept.THIS} was written: commit it")


def test_records_of_a_release_are_read(release: Path):
    """Every field that a release wrote has the value that it had."""
    codec = Codec()
    for name, record in kept.read(release, kept.RECORDS).items():
        found = kept.in_json(codec.decode(name, base64.b64decode(record["bytes"])))
        assert found | record["values"] == found, name


def test_packed_state_of_a_release_is_read_or_discarded(release: Path):
    """State of this layout is unpacked as it was; of another it is read from the topic anew."""
    state = kept.read(release, kept.STATE)
    if state["layout"] != LAYOUT:
        assert state["layout"] < LAYOUT
        return
    packing = Packing(bytes.fromhex(one) for one in state["shared"])
    for key, row in state["rows"].items():
        consent = packing.unpack(key.encode(), bytes.fromhex(row["packed"]))
        assert kept.in_json(consent_to_avro(consent)) == row["values"]


class TestLedgerOfARelease:
    """A ledger of a release, brought up to this one."""

    @pytest.fixture
    async def database_url(self, empty_database: str, release: Path) -> str:
        """Give the URL of such a ledger."""
        kept.load(release, empty_database)
        await migrate(empty_database)
        return empty_database

    async def test_is_complete_proven_and_goes_on(
        self,
        harness: SinkHarness,
        ledger_settings: LedgerSettings,
        release: Path,
        tmp_path: Path,
    ):
        """Its history is proven by its anchors and gives its rows; an opt-out is stored in it."""
        ledger, anchors = harness.ledger, verify.read_anchors(release / kept.ANCHORS)
        assert await pending(ledger_settings.database_url.get_secret_value()) == ()
        found = await verify.verify(ledger, anchors)
        assert (found.faults, found.anchors > 0) == ((), True)
        known = await offsets.positions(ledger, TOPIC, [0], cluster_id="cluster", topic_id="topic")
        harness.offset = known[0]
        await harness.ingest(ret(a_phone(2), minutes=1), onay(a_phone(99)))
        rebuild = LedgerRebuild(
            ledger=ledger, settings=ledger_settings, clock=harness.clock, workers=1
        )
        compared = await rebuild.plan(tmp_path / "plan.json", Selection(), by="ada")
        assert (await differing_rows(ledger), compared.shadow) == ([], compared.current)
        (row,) = await ledger.fetch(
            "SELECT desired_status, may_send FROM consents WHERE recipient = %(recipient)s",
            {"recipient": a_phone(2)},
        )
        assert row == {"desired_status": "RET", "may_send": False}
        assert (await verify.verify(ledger, anchors)).faults == ()
