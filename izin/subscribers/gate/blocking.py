"""The gate for programs without an event loop: the same client, in a loop of its own."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterable
from concurrent.futures import CancelledError, Future
from contextlib import closing
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar, Unpack

from izin.subscribers.errors import GateClosedError
from izin.subscribers.gate.client import Gate
from izin.subscribers.gate.wire_format import GateAnswer, GateVerdict, Question

T = TypeVar("T")


class _Running(NamedTuple):
    """The loop, from when the gate was entered until it is left."""

    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    left: asyncio.Event


class BlockingGate:
    """Asks as ``gate`` does, and waits for the answer. A context manager, and safe among threads.

    Enter it in the process that asks: its thread does not survive a fork.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._running: _Running | None = None

    def __enter__(self) -> Self:
        entered: Future[_Running] = Future()
        thread = threading.Thread(
            target=asyncio.run, args=(self._stay(entered),), name="izin-gate", daemon=True
        )
        thread.start()
        self._running = entered.result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.loop.call_soon_threadsafe(running.left.set)
            running.thread.join()

    def may_send(self, recipient: str, **question: Unpack[Question]) -> GateVerdict:
        """Return whether the message may be sent to ``recipient`` now, as :meth:`Gate.may_send`."""
        return self._wait(self._gate.may_send(recipient, **question))

    def check(
        self, recipients: Iterable[str], **question: Unpack[Question]
    ) -> Generator[GateVerdict, None, None]:
        """Yield a verdict for each of ``recipients``, in their order, as :meth:`Gate.check`.

        ``recipients`` is iterated in the gate's own thread.
        """
        with closing(self.check_lists(recipients, **question)) as answers:
            for answer in answers:
                yield from answer.verdicts

    def check_lists(
        self, recipients: Iterable[str], **question: Unpack[Question]
    ) -> Generator[GateAnswer, None, None]:
        """Yield an answer for each batch of ``recipients``, as :meth:`Gate.check_lists`.

        ``recipients`` is iterated in the gate's own thread.
        """
        answers = self._gate.check_lists(recipients, **question)
        try:
            while (answer := self._wait(_next(answers))) is not None:
                yield answer
        finally:
            if self._running is not None:
                self._wait(_end(answers))

    async def _stay(self, entered: Future[_Running]) -> None:
        """Keep the gate open until it is left; what is asked then is cancelled with the loop."""
        left = asyncio.Event()
        try:
            async with self._gate:
                entered.set_result(
                    _Running(asyncio.get_running_loop(), threading.current_thread(), left)
                )
                await left.wait()
        except Exception as error:
            if entered.done():
                raise
            entered.set_exception(error)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._running is None:
            work.close()
            raise GateClosedError
        try:
            return asyncio.run_coroutine_threadsafe(work, self._running.loop).result()
        except CancelledError:
            raise GateClosedError from None


async def _next(answers: AsyncGenerator[GateAnswer, None]) -> GateAnswer | None:
    return await anext(answers, None)


async def _end(answers: AsyncGenerator[GateAnswer, None]) -> None:
    await answers.aclose()
