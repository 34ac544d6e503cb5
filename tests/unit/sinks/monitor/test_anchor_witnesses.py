"""Anchors leave the host, each line once, and under time stamps of an authority."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography.x509 import load_pem_x509_certificates
from iys_simulator.timestamp_authority import TimestampAuthority

from izin.evidence.chain import anchors_in
from izin.ledger.history.verify import read_anchors
from izin.ledger.record import Anchor
from izin.sinks.monitor import anchors
from izin.sinks.monitor.anchors import AnchorWitnesses, WitnessError

AUTHORITY = TimestampAuthority()
ROOTS = tuple(load_pem_x509_certificates(AUTHORITY.root_pem))
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)


class Others(BaseHTTPRequestHandler):
    """An endpoint for lines, and an authority, both of which can be away."""

    lines: ClassVar[list[str]]
    tokens: ClassVar[set[str | None]]
    away: ClassVar[set[str]]
    now: ClassVar[datetime]

    def do_POST(self) -> None:
        """Take lines, or stamp the SHA-512 in a request."""
        body = self.rfile.read(int(self.headers["content-length"]))
        reply = b""
        if self.path not in self.away and self.path == "/anchors":
            self.lines.extend(body.decode().splitlines())
            self.tokens.add(self.headers["authorization"])
        elif self.path == "/stamp":
            at = body.index(b"\x04\x40") + 2
            reply = AUTHORITY.reply(body[at : at + 64].hex(), self.now, 1)
        self.send_response(503 if self.path in self.away else 200)
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def others() -> Iterator[str]:
    """Run the others; give their address."""
    Others.lines, Others.tokens, Others.away, Others.now = [], set(), set(), NOW
    with ThreadingHTTPServer(("127.0.0.1", 0), Others) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def site() -> Iterator[AnchorWitnesses]:
    """Give the witnesses."""
    with others() as address:
        yield AnchorWitnesses(
            endpoint=f"{address}/anchors",
            token="a-token",
            authority=f"{address}/stamp",
            timestamp_every=DAY,
        )


def an_anchor(number: int, shard: int = 0) -> Anchor:
    """Return an anchor."""
    link = number.to_bytes(32, "big")
    return Anchor(id=number, shard=shard, place=number * 10, link=link, anchored_at=NOW)


def add(file: Path, *anchors: Anchor) -> None:
    """Append anchors as the sink does."""
    with file.open("a", encoding="utf-8") as lines:
        lines.writelines(one.to_line() for one in anchors)


async def test_each_line_reaches_the_endpoint_once(site: AnchorWitnesses, tmp_path: Path) -> None:
    """Also those that were written while it was away, and after a restart."""
    file, plain = tmp_path / "anchors.jsonl", replace(site, authority=None)
    add(file, an_anchor(1), an_anchor(2))
    await plain.reach(file, NOW)
    Others.away = {"/anchors"}
    add(file, an_anchor(3))
    with pytest.raises(WitnessError, match="did not take the anchors"):
        await plain.reach(file, NOW)
    Others.away = set()
    add(file, an_anchor(4))
    with file.open("a", encoding="utf-8") as lines:
        lines.write('{"id": 5')  # a line that is being written
    for _ in range(2):
        await replace(plain).reach(file, NOW)
    assert [json.loads(line)["id"] for line in Others.lines] == [1, 2, 3, 4]
    assert Others.tokens == {"Bearer a-token"}


async def test_newest_head_of_each_chain_is_stamped_once_a_day(
    site: AnchorWitnesses, tmp_path: Path
) -> None:
    """The stamp stands in the file, leads to the authority, and is no anchor to who skips it."""
    file = tmp_path / "anchors.jsonl"
    add(file, an_anchor(1), an_anchor(2), an_anchor(3, shard=1))
    await site.reach(file, NOW)
    add(file, an_anchor(4))
    await site.reach(file, NOW + DAY / 2)
    known = {one.id: one.timestamped_at for one in read_anchors(file, ROOTS)}
    assert known == {1: None, 2: NOW, 3: NOW, 4: None}
    assert {one.timestamped_at for one in read_anchors(file)} == {None}
    Others.now = NOW + DAY
    for at in (NOW + DAY, NOW + 3 * DAY):
        await site.reach(file, at)
    known = {one.id: one.timestamped_at for one in read_anchors(file, ROOTS)}
    assert known == {1: None, 2: NOW, 3: NOW, 4: NOW + DAY}
    assert sum('"timestamp"' in line for line in Others.lines) == 2
    assert len(anchors_in(file)) == 4


async def test_authority_that_is_away_keeps_no_line_from_the_endpoint(
    site: AnchorWitnesses, tmp_path: Path
) -> None:
    """Nor does a reply that is no time stamp count as one."""
    file = tmp_path / "anchors.jsonl"
    add(file, an_anchor(1))
    Others.away = {"/stamp"}
    with pytest.raises(WitnessError, match="/stamp did not take"):
        await site.reach(file, NOW)
    assert len(Others.lines) == 1
    assert site.authority is not None
    wrong = replace(site, authority=site.authority.replace("/stamp", "/other"))
    with pytest.raises(WitnessError, match="no time stamp of the anchors"):
        await wrong.reach(file, NOW)
    assert [one.timestamped_at for one in read_anchors(file, ROOTS)] == [None]


def test_line_behind_one_that_a_crash_cut_off_stands_alone(tmp_path: Path) -> None:
    """A time stamp as well as an anchor: readers skip the incomplete one."""
    file = tmp_path / "anchors.jsonl"
    file.write_text('{"shard": 1, "pl', "utf-8")
    anchors.append_lines(file, ["a whole line\n"])
    assert file.read_text("utf-8").splitlines() == ['{"shard": 1, "pl', "a whole line"]
