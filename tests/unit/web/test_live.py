"""Pages that update themselves: rendered once for all who watch, and for nobody who left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from starlette.responses import StreamingResponse

from izin.consent import OurError
from izin.web.live import LivePages


class Shown:
    """What a page shows, and how often it was rendered."""

    def __init__(self) -> None:
        self.text = "one"
        self.count = 0
        self.fails: Exception | None = None
        self._rendered = asyncio.Event()

    async def render(self) -> str:
        self.count += 1
        self._rendered.set()
        if self.fails is not None:
            raise self.fails
        return self.text

    async def again(self, times: int) -> None:
        """Return once it was rendered so often more."""
        for _ in range(times):
            self._rendered.clear()
            await self._rendered.wait()


def watching(pages: LivePages, shown: Shown, what: str = "overview") -> AsyncIterator[str]:
    """Return the events that one watcher gets."""
    response = pages.watch(what, shown.render)
    assert isinstance(response, StreamingResponse)
    assert response.media_type == "text/event-stream"
    return response.body_iterator  # type: ignore[return-value]


async def event(events: AsyncIterator[str]) -> str:
    """Return what the next event shows."""
    async with asyncio.timeout(5):
        found = await anext(events)
    head, *lines = found.splitlines()
    assert head == "event: changed", found
    return "\n".join(line.removeprefix("data: ") for line in lines if line)


async def test_watcher_is_shown_each_change_once():
    """And what has lines as its lines."""
    shown, pages = Shown(), LivePages(every=0.001, lasts=5)
    async with aclosing(watching(pages, shown)) as events:
        assert (await anext(events)).startswith(":")
        assert await event(events) == "one"
        shown.text = "two\nlines"
        assert await event(events) == "two\nlines"


async def test_page_is_rendered_once_for_all_who_watch_it():
    """Whoever comes later is shown at once what the others have."""
    shown, pages = Shown(), LivePages(every=0.01, lasts=5)
    async with aclosing(watching(pages, shown)) as first:
        await anext(first)
        assert await event(first) == "one"
        async with aclosing(watching(pages, Shown())) as second:
            await anext(second)
            assert await event(second) == "one"
            shown.text = "two"
            assert await event(first) == await event(second) == "two"


async def test_pages_of_others_are_apart():
    """What differs in customer or language is another page."""
    ours, theirs = Shown(), Shown()
    theirs.text = "another"
    pages = LivePages(every=0.001, lasts=5)
    async with (
        aclosing(watching(pages, ours, "a")) as a,
        aclosing(watching(pages, theirs, "b")) as b,
    ):
        await anext(a)
        await anext(b)
        assert (await event(a), await event(b)) == ("one", "another")


async def test_watching_ends_in_time_and_nothing_is_rendered_after():
    """So whoever was signed out sees nothing more; no task is left."""
    shown, pages = Shown(), LivePages(every=0.001, lasts=0.05)
    found = [one async for one in watching(pages, shown)]
    count = shown.count
    assert found[0].startswith(":")
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert (shown.count, pages._channels) == (count, {})


async def test_page_that_fails_is_shown_again_once_it_can_be():
    """Of a ledger that is away nobody hears, and a mistake ends one refresh, not the page."""
    shown, pages = Shown(), LivePages(every=0.001, lasts=5)
    shown.fails = OurError("away")
    async with aclosing(watching(pages, shown)) as events:
        await anext(events)
        await shown.again(2)
        shown.fails = None
        assert await event(events) == "one"


async def test_watcher_that_does_not_read_gets_the_latest():
    """However many changes it has missed."""
    shown, pages = Shown(), LivePages(every=0.001, lasts=5)
    async with aclosing(watching(pages, shown)) as events:
        await anext(events)
        assert await event(events) == "one"
        for number in range(20):
            shown.text = str(number)
            await shown.again(2)
        assert await event(events) == "19"
