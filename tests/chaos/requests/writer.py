"""Send hostile requests, in a process of its own, and keep how they were answered.

A process that is spawned finds nothing of a ``__main__``: this stands beside it.
"""

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from tests.chaos.requests.making import HostileRequest, Known, hostile_request

_NICE = 19
SOURCE = "127.0.0.2"
"""The address of the hostile client."""
_AT_ONCE = 16
_ANSWERED_WITHIN = 30.0
_QUIET = 0.1
"""Seconds for which an answer is waited for where none must come."""
_SERVER_FAULT = 500
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})[^\r\n]*\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(slots=True, kw_only=True)
class Answers:
    """How hostile requests were answered."""

    statuses: Counter[str] = field(default_factory=Counter)
    """By kind and status."""
    faults: list[str] = field(default_factory=list)
    """Answers of 5xx."""
    wrong: list[str] = field(default_factory=list)
    """Requests that were not answered and must be, and those with more answers than requests."""


def send(known: Known, *, port: int, seed: int, numbers: range, rate: float) -> Answers:
    """Send the requests of these ``numbers``, so many a second, as from another machine."""
    os.nice(_NICE)
    answers, began, left = Answers(), time.monotonic(), iter(numbers)

    async def sender() -> None:
        for number in left:
            due = began + (number - numbers.start) / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            made = hostile_request(seed, number, known)
            note(answers, number, made, await exchange(port, made))

    async def send_all() -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(sender())

    asyncio.run(send_all())
    return answers


def note(answers: Answers, number: int, made: HostileRequest, read: bytes) -> None:
    """Keep in ``answers`` how the request of this number was answered by ``read``."""
    found = [*statuses_of(read)]
    shown = f"request {number} ({made.kind})"
    answers.statuses.update(f"{made.kind} {one}" for one in found or ["-"])
    answers.faults += [f"{shown}: {one}: {read[-300:]!r}" for one in found if one >= _SERVER_FAULT]
    if made.answers is not None and len(found) < made.answers:
        answers.wrong.append(f"{shown}: {len(found)} of {made.answers} answers")
    if made.status is not None and {*found} != {made.status}:
        answers.wrong.append(f"{shown}: {found}, not {made.status}")
    if len(found) > max(made.at_most, made.answers or 0):
        answers.wrong.append(f"{shown}: {len(found)} answers, {made.at_most} at most")


async def exchange(port: int, made: HostileRequest) -> bytes:
    """Return what a server sent to one request, until it closed the connection, or long enough."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(SOURCE, 0))
    except OSError:
        return b""
    writing = asyncio.create_task(_write(writer, made))
    read = bytearray()
    within = _QUIET if made.answers is None else _ANSWERED_WITHIN
    try:
        with suppress(TimeoutError, OSError):
            while (
                made.answers is None
                or made.status
                or sum(1 for _ in statuses_of(bytes(read))) < made.answers
            ):
                piece = await asyncio.wait_for(reader.read(1 << 16), within)
                if not piece:
                    break
                read += piece
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await writing
        writer.transport.abort()
    return bytes(read)


async def _write(writer: asyncio.StreamWriter, made: HostileRequest) -> None:
    size = max(1, -(-len(made.content) // made.pieces))
    for begin in range(0, len(made.content), size):
        writer.write(made.content[begin : begin + size])
        await writer.drain()
        if made.pieces > 1:
            await asyncio.sleep(0)


def statuses_of(read: bytes) -> Iterator[int]:
    """Yield the status of each whole answer in what was read; of one to HEAD there is no body."""
    at = 0
    while found := _STATUS.match(read, at):
        end = read.find(b"\r\n\r\n", at)
        if end < 0:
            return
        length = _LENGTH.search(read, at, end)
        behind = end + 4
        if length and not _STATUS.match(read, behind):
            behind += int(length[1])
        if int(found[1]) >= 200:  # not "continue"
            yield int(found[1])
        at = behind
