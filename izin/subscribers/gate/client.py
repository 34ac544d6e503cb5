"""A client of the gate that fails closed: where there is no answer, the answer is no.

:class:`BlockingGate` is the same for programs without an event loop, in a loop of its own.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Coroutine, Generator, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import aclosing, closing
from datetime import timedelta
from pathlib import Path
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import Any, NamedTuple, Protocol, Self, TypeVar, Unpack
from urllib.parse import urlsplit

from izin.runtime.errors import SettingError
from izin.runtime.setting_rules import checks
from izin.schemas.may_send_api import MOST_RECIPIENTS, PATH
from izin.subscribers.errors import GateClosedError, GateUnavailableError
from izin.subscribers.gate.wire_format import (
    GateAnswer,
    GateVerdict,
    Question,
    answer_of,
    checked,
    closed,
    request_of,
    sendable,
    text_of,
)

_SLICE = 1000
"""Recipients between two turns of the event loop."""
_MOST_CHARACTERS = 2_000_000
"""Of the recipients of one request, each of which may take six bytes; the gate takes 16 MB."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_CONNECTIONS = 100

Recipients = Iterable[str] | AsyncIterable[str]
T = TypeVar("T")


class Gate:
    """Asks the gate at ``url`` whether messages may be sent. An async context manager.

    ``api_key`` is a key with the scope ``ask``; ``ca_file`` has the authorities (PEM) of the gate's
    certificate, else those of the operating system are trusted. A question about one recipient has
    an answer within ``timeout``, one about a batch of a list within ``list_timeout``; until then it
    is asked again where the gate is busy or out of reach. Then the answer is no, with the reason
    ``stale`` and a ``cause``; or, with ``raise_unavailable``, GateUnavailableError is raised.

    Raises:
        SettingError: the URL, the key or a number cannot be used.
        TypeError: a time is no timedelta.
    """

    def __init__(  # noqa: PLR0913  # each has a default that suits most
        self,
        url: str,
        api_key: str,
        *,
        ca_file: Path | None = None,
        timeout: timedelta = timedelta(seconds=2),
        list_timeout: timedelta = timedelta(seconds=60),
        batch: int = 50_000,
        most_requests: int = 2,
        raise_unavailable: bool = False,
    ) -> None:
        """Ask about lists in requests of up to ``batch`` recipients, at most ``most_requests`` of
        them at a time: so many batches are in memory.
        """
        self._url = _checked_url(url)
        self._api_key = _checked_key(api_key)
        if not 0 < batch <= MOST_RECIPIENTS:
            raise SettingError(f"batch={batch} is none of 1 to {MOST_RECIPIENTS}; choose one")
        if most_requests < 1:
            raise SettingError(f"most_requests={most_requests} would ask nothing; choose 1 or more")
        self._ca_file = ca_file
        self._timeout = _seconds("timeout", timeout)
        self._list_timeout = _seconds("list_timeout", list_timeout)
        self._batch = batch
        self._most_requests = most_requests
        self._raises = raise_unavailable
        self._connection: _Connection | None = None

    async def __aenter__(self) -> Self:
        # It imports an HTTP library, 0.1 s that only those who ask should pay.
        from izin.subscribers.gate.connection import GateConnection  # noqa: PLC0415  # see above

        self._connection = GateConnection(
            self._url,
            self._api_key,
            trusted=self._trusted(),
            most=_CONNECTIONS,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def may_send(self, recipient: str, **question: Unpack[Question]) -> GateVerdict:
        """Return whether the message may be sent to ``recipient`` now.

        Raises:
            ApiKeyRefusedError: the gate does not know the key, or it has expired.
            NotPermittedError: the key may not ask.
            QuestionRefusedError: the gate does not understand the question.
            GateUnavailableError: there is no answer, and the gate was made to raise that.
            GateClosedError: it was not entered, or was left.
            TypeError: the recipient is no text, or a word of the question is unknown.
        """
        return (await self._ask([text_of(recipient)], checked(question), self._timeout)).verdicts[0]

    async def check(
        self, recipients: Recipients, **question: Unpack[Question]
    ) -> AsyncGenerator[GateVerdict, None]:
        """Yield a verdict for each of ``recipients``, any number, in their order.

        Raises:
            The errors of :meth:`may_send`, at the first batch that they concern.
        """
        async with aclosing(self.check_lists(recipients, **question)) as answers:
            async for answer in answers:
                for number, verdict in enumerate(answer.verdicts):
                    if number % _SLICE == 0:
                        await asyncio.sleep(0)  # requests are on their way meanwhile
                    yield verdict

    async def check_lists(
        self, recipients: Recipients, **question: Unpack[Question]
    ) -> AsyncGenerator[GateAnswer, None]:
        """Yield an answer for each batch of ``recipients``, in their order, as :meth:`check` does.

        Each has a receipt of its own.
        """
        asked = checked(question)
        if isinstance(recipients, str):
            raise TypeError("recipients is one text; give a list of them")
        answers: deque[asyncio.Task[GateAnswer]] = deque()
        try:
            async with aclosing(_batches(recipients, self._batch)) as batches:
                async for batch in batches:
                    answers.append(asyncio.create_task(self._ask(batch, asked, self._list_timeout)))
                    if len(answers) == self._most_requests:
                        yield await answers.popleft()
            while answers:
                yield await answers.popleft()
        finally:
            for answer in answers:
                answer.cancel()
            await asyncio.gather(*answers, return_exceptions=True)

    async def _ask(
        self, recipients: Sequence[str], question: Question, within: float
    ) -> GateAnswer:
        """Return the answer about ``recipients``, asked for until ``within`` seconds are over."""
        sent = sendable(recipients)
        body = request_of(question, sent)
        ends, pause = asyncio.get_running_loop().time() + within, _FIRST_PAUSE
        unavailable = GateUnavailableError("timed out")
        try:
            async with asyncio.timeout_at(ends):
                while True:
                    try:
                        content = await self._entered().post(body, len(recipients))
                        return answer_of(content, recipients, sent)
                    except GateUnavailableError as error:
                        unavailable = error
                    wait = max(unavailable.retry_after or 0, pause)
                    if unavailable.is_final or asyncio.get_running_loop().time() + wait >= ends:
                        break
                    await asyncio.sleep(wait)
                    pause = min(2 * pause, _LONGEST_PAUSE)
        except TimeoutError:
            pass
        if self._raises:
            raise unavailable
        return closed(recipients, unavailable.cause)

    def _trusted(self) -> SSLContext:
        if self._url.startswith("https:") or self._ca_file is not None:
            return checks.authorities("ca_file", self._ca_file)
        return SSLContext(PROTOCOL_TLS_CLIENT)  # trusts nobody; to load authorities takes a while

    def _entered(self) -> "_Connection":
        if self._connection is None:
            raise GateClosedError
        return self._connection


class _Connection(Protocol):
    """``GateConnection``, which is imported late."""

    async def post(self, body: bytes, recipients: int) -> bytes: ...

    async def close(self) -> None: ...


async def _batches(recipients: Recipients, size: int) -> AsyncGenerator[list[str], None]:
    """Yield ``recipients`` in lists of ``size``, or of fewer where they are long; the event loop
    is let in between.
    """
    batch: list[str] = []
    characters = 0
    async with aclosing(_each(recipients)) as each:
        async for one in each:
            batch.append(text_of(one))
            characters += len(one)
            if len(batch) == size or characters >= _MOST_CHARACTERS:
                yield batch
                batch, characters = [], 0
    if batch:
        yield batch


async def _each(recipients: Recipients) -> AsyncGenerator[str, None]:
    if isinstance(recipients, AsyncIterable):
        async for one in recipients:
            yield one
        return
    for number, one in enumerate(recipients):
        if number % _SLICE == 0:
            await asyncio.sleep(0)
        yield one


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_usable = bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        is_usable = False
    if not is_usable or parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
        raise SettingError(
            "the URL of the gate does not begin with http:// or https://, or has a login or a "
            "query in it; give one such as https://gate.example.com"
        )
    if parts.path.rstrip("/").endswith(PATH):
        raise SettingError(f"the URL of the gate ends with {PATH}; leave that out")
    return url.rstrip("/")


def _seconds(name: str, time: timedelta) -> float:
    if not isinstance(time, timedelta):
        raise TypeError(
            f"{name} is of type {type(time).__name__}; give a timedelta, as timedelta(seconds=2)"
        )
    if time <= timedelta():
        raise SettingError(f"{name}={time} leaves no time for an answer; choose a longer one")
    return time.total_seconds()


def _checked_key(api_key: str) -> str:
    key = api_key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise SettingError(
            "the API key of the gate is empty, or is none; make one: izin keys create NAME "
            "--scope ask --customer CUSTOMER"
        )
    return key


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

    def __exit__(self, *_: object) -> None:
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
