"""Anchor the heads of the history's hash chains outside the ledger: in a topic, a file, at others.

An anchor is written to the ledger and its outbox in one transaction. Then the anchors that the file
lacks are appended to it, so that neither a crash nor a change of machine loses one. Whoever can
change the ledger should not be able to change both copies.

A chain that grows fast is anchored sooner: an archive of evidence has 32 bytes for each row between
one of its own and the next anchor.

Whoever owns database and host can rewrite the ledger, its anchors and the anchor file. Not what an
endpoint of others has taken, nor when an authority says that it saw a head (RFC 3161). Both are
told of the lines of the anchor file, from where the endpoint last took one: beside the file stands
how far that is, so that neither a restart nor an endpoint that is away leaves a line out.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import httpx
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from izin.consent import OurError
from izin.ledger.db import Ledger, exclusive
from izin.ledger.history import verify
from izin.ledger.record import (
    Anchor,
    AnchorTimestamp,
    TopicMessages,
    UnreadableAnchorError,
    text_of_heads,
)
from izin.ledger.unit_of_work import append_messages
from izin.runtime.logs import get_logger
from izin.schemas import timestamps

_TIMEOUT = timedelta(seconds=20)
_MOST_SENT = 1 << 20
"""Bytes of lines in one request."""
_LARGEST_REPLY = 1 << 16
MOST_ROWS = 5_000
"""So many rows of one chain are anchored before the interval ends."""
_LOOKS, _RARE_LOOKS = timedelta(seconds=0.5), timedelta(seconds=2)
"""How often the growth of the chains is looked at meanwhile; rarely, where they do not grow."""
_log = get_logger(__name__)


class WitnessError(OurError):
    """An endpoint or a time-stamp authority did not take the anchors; they are kept, and sent
    again.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorWitnesses:
    """Who has the anchors besides us."""

    endpoint: str | None
    """A URL that takes the lines of the anchor file by POST (``application/x-ndjson``)."""
    token: str | None
    """A bearer token of the endpoint."""
    authority: str | None
    """The URL of a time-stamp authority."""
    timestamp_every: timedelta = timedelta(days=1)

    async def reach(self, file: Path, now: datetime) -> None:
        """Have the newest heads of ``file`` stamped, where that is due, and send what is new.

        Raises:
            WitnessError: one of them did not take it; what the other took stays.
        """
        faults = []
        for step in (self._timestamp(file, now), self._send(file)):
            try:
                await step
            except WitnessError as error:
                faults.append(str(error))
        if faults:
            raise WitnessError("; ".join(faults))

    async def _timestamp(self, file: Path, now: datetime) -> None:
        if self.authority is None:
            return
        last, heads = _last_timestamp(
            (await asyncio.to_thread(file.read_text, encoding="utf-8")).splitlines()
        )
        if heads and (last is None or now - last >= self.timestamp_every):
            await asyncio.to_thread(
                append_lines, file, [(await timestamped(heads, self.authority)).to_line()]
            )

    async def _send(self, file: Path) -> None:
        if self.endpoint is None:
            return
        sent = file.with_name(f"{file.name}.sent")
        while True:
            at, lines = await asyncio.to_thread(_unsent, file, sent)
            if not lines:
                return
            await send(lines, self.endpoint, self.token)
            await asyncio.to_thread(sent.write_text, f"{at + len(lines)}\n", encoding="utf-8")


async def send(lines: bytes, endpoint: str, token: str | None) -> None:
    """Send lines of anchors to an endpoint; raises WitnessError."""
    headers = {"content-type": "application/x-ndjson"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    await _post(endpoint, lines, headers)


async def timestamped(heads: Iterable[tuple[int, int, str]], authority: str) -> AnchorTimestamp:
    """Return the time stamp of an authority over heads.

    Raises:
        WitnessError: it does not answer, or its reply is no stamp over these heads.
    """
    chosen = tuple(heads)
    request = TimestampRequestBuilder(
        data=text_of_heads(chosen), hash_algorithm=HashAlgorithm.SHA512, nonce=False
    ).build()
    reply = await _post(
        authority, request.as_bytes(), {"content-type": "application/timestamp-query"}
    )
    timestamp = AnchorTimestamp(heads=chosen, reply=reply)
    found = timestamps.verify(reply, timestamp.digest, ())
    if found.state is not timestamps.TimestampState.UNVERIFIED:
        raise WitnessError(f"{authority} gave no time stamp of the anchors: {found.error}")
    return timestamp


async def _post(url: str, content: bytes, headers: dict[str, str]) -> bytes:
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT.total_seconds()) as client:
            reply = await client.post(url, content=content, headers=headers)
            reply.raise_for_status()
            return reply.content[:_LARGEST_REPLY]
    except httpx.HTTPError as error:
        raise WitnessError(f"{url} did not take the anchors ({error!r:.200})") from error


def _last_timestamp(
    lines: Iterable[str],
) -> tuple[datetime | None, list[tuple[int, int, str]]]:
    """Return when the newest stamp among ``lines`` was made, by its own word, and the newest head
    of each chain that was anchored after it.
    """
    last, heads = None, dict[int, tuple[int, int, str]]()
    for line in lines:
        timestamp = AnchorTimestamp.from_line(line)
        if timestamp is not None:
            last, heads = timestamps.verify(timestamp.reply, timestamp.digest, ()).at, {}
            continue
        try:
            one = Anchor.from_line(line)
        except UnreadableAnchorError:
            continue
        heads[one.shard] = (one.shard, one.place, one.link.hex())
    return last, [heads[shard] for shard in sorted(heads)]


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Append whole lines to the anchor file, and wait until the disk has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        if _is_cut(path):
            # A crash left an incomplete line: end it, and readers skip it.
            file.write("\n")
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def _is_cut(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        if file.tell() == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _unsent(file: Path, sent: Path) -> tuple[int, bytes]:
    """Return where the lines begin that were not sent, and these, up to a whole line."""
    try:
        at = int(sent.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        at = 0
    with file.open("rb") as opened:
        opened.seek(at)
        lines = opened.read(_MOST_SENT)
    return at, lines[: lines.rfind(b"\n") + 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorWriter:
    """Anchors the chains every ``interval``, in one process at a time."""

    ledger: Ledger
    topic_messages: TopicMessages
    file: Path | None
    clock: Callable[[], datetime]
    interval: timedelta
    witnesses: AnchorWitnesses | None = None

    async def run(self) -> None:
        """Anchor until cancelled."""
        async with exclusive(self.ledger, "anchor") as ledger:
            owner, due = replace(self, ledger=ledger), self.clock()
            while True:
                await owner.anchor()
                if (now := self.clock()) >= due:
                    await owner.witness(now)
                    due = now + self.interval
                await owner.wait()

    async def witness(self, now: datetime) -> None:
        """Have others see what is in the file; what they do not take is tried again."""
        if self.file is None or self.witnesses is None or not self.file.exists():
            return
        try:
            await self.witnesses.reach(self.file, now)
        except WitnessError as error:
            _log.error("anchors did not leave the host", error=str(error))  # whose fault it is

    async def wait(self) -> None:
        """Wait for the interval, or until a chain has grown by ``MOST_ROWS``."""
        left, before, rows = self.interval, 0, 0
        while left > timedelta(0) and rows < MOST_ROWS:
            rest = min(left, _RARE_LOOKS if rows == before else _LOOKS)
            await asyncio.sleep(rest.total_seconds())
            left -= rest
            before, rows = rows, await verify.growth(self.ledger)

    async def anchor(self) -> int:
        """Anchor the chains that have grown; return their number."""
        now = self.clock()
        async with self.ledger.transaction() as connection:
            made = await verify.anchor(connection, now=now)
            if made:
                await append_messages(
                    connection, [self.topic_messages.anchor(one) for one in made], now
                )
        if self.file is not None:
            await self._file(self.file)
        return len(made)

    async def _file(self, path: Path) -> None:
        missing = await verify.anchors_after(self.ledger, await asyncio.to_thread(_known, path))
        if missing:
            await asyncio.to_thread(append_lines, path, [anchor.to_line() for anchor in missing])
            _log.info("history anchored", anchors=len(missing), last=missing[-1].id)


def _known(path: Path) -> int:
    """Return the id of the last anchor in the file; 0 if there is none."""
    if not path.exists():
        return 0
    return max((read_anchor.id for read_anchor in verify.read_anchors(path)), default=0)
