"""Pages that update themselves: what many watch is rendered once, and sent to all when it changes.

A watcher is a request for server-sent events. It ends within the time that a request may take, and
the browser asks again: so whoever was signed out, or may see it no longer, sees nothing more.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.responses import Response, StreamingResponse

from izin.consent import IzinError
from izin.runtime.logs import get_logger
from izin.runtime.process import cancel_all
from izin.web import pages

EVENT = "changed"
_EVERY = 5.0
"""Seconds between two looks at what is shown."""
_LASTS = 50.0
_log = get_logger(__name__)
Render = Callable[[], Awaitable[str]]


@dataclass(slots=True)
class _Channel:
    """What one page shows, in one language, of one customer."""

    render: Render
    watchers: set[asyncio.Queue[str]] = field(default_factory=set)
    task: asyncio.Task[None] | None = None
    shown: str = ""


class LivePages:
    """The pages that are watched now."""

    def __init__(self, *, every: float = _EVERY, lasts: float = _LASTS) -> None:
        self._every, self._lasts = every, lasts
        self._channels: dict[Hashable, _Channel] = {}

    def watch(self, what: Hashable, render: Render) -> Response:
        """Return the events of a page: ``render`` makes the fragment that it shows; ``what`` is the
        same for all who are shown the same: customer, language and rights. It has no form, whose
        token is of one session.
        """
        headers = {**pages.HEADERS, "X-Accel-Buffering": "no"}
        return StreamingResponse(
            self._events(what, render), media_type="text/event-stream", headers=headers
        )

    async def _events(self, what: Hashable, render: Render) -> AsyncIterator[str]:
        channel = self._channels.setdefault(what, _Channel(render))
        queue: asyncio.Queue[str] = asyncio.Queue(maxsize=1)
        channel.watchers.add(queue)
        if channel.task is None or channel.task.done():
            channel.task = asyncio.create_task(self._refresh(channel))
        if channel.shown:  # what changed while nobody watched this page
            queue.put_nowait(channel.shown)
        ends = asyncio.get_running_loop().time() + self._lasts
        try:
            yield ": watched\n\n"
            with suppress(TimeoutError):
                while True:
                    async with asyncio.timeout_at(ends):
                        found = await queue.get()
                    yield _event(found)
        finally:
            channel.watchers.discard(queue)
            if not channel.watchers:
                self._channels.pop(what, None)
                await cancel_all([channel.task])

    async def _refresh(self, channel: _Channel) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                found = await channel.render()
            except IzinError as error:
                _log.warning("page not updated", error=str(error))
                continue
            if found == channel.shown:
                continue
            channel.shown = found
            for queue in channel.watchers:
                if queue.full():  # a browser that does not read: the latest is enough
                    queue.get_nowait()
                queue.put_nowait(found)


def _event(fragment: str) -> str:
    lines = "".join(f"data: {line}\n" for line in fragment.splitlines())
    return f"event: {EVENT}\n{lines}\n"
