"""Run a command for one customer, or serve the endpoints, and say what is shown of others."""

import asyncio
import gzip
import re
import shlex
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from izin.gate import server as gate_server
from izin.local import free_port
from izin.producers.intake import server as intake_server
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.settings import GateSettings, IntakeSettings, KafkaSettings
from izin.schemas.codec import Codec
from tests.integration.feeds import conftest as feeds
from tests.integration.sinks.inbound.test_push import Worker
from tests.integration.sinks.sink_harness import Izin
from tests.support.acts import commands
from tests.support.customers.cuts import Cut
from tests.support.customers.installation import Installation

COMMANDS = dict(commands())
_SHOWN = 6
_OUTPUT = "the output"
_JSON = "--output=json"
FOREIGN = re.compile(
    r"foreign|yabanc|(?<![\w.])9[05]00\d\d(?!\w)|\+90559\d{7}|0559 ?\d{3}|\*{3}(77|88)",
    re.IGNORECASE,
)
"""Ids, names, brand codes and recipients of the others, masked ones too."""
MANY = re.compile(r"(?<![\w.:,+/*%-])(9[5-9]|[1-9]\d\d|1[0-8]\d\d)(?![\w.:/-]|,\d| ?%)")
"""A count over all brands: each of the others' 98 has one of everything, and ours a handful."""
_GZIP = b"\x1f\x8b"
PUSH_PASSWORD = "our-fake-password"
OPERATIONS = "operations of "
"""Begins the names of the listeners of operators."""


def traces(text: str, given: Iterable[str] = (), *, counts: bool = True) -> list[str]:
    """Return what ``text`` has of others, and the counts that have others in them, except for what
    was ``given`` on the command line.
    """
    for one in sorted(given, key=len, reverse=True):
        text = text.replace(one, "")
    found = [one.group() for one in FOREIGN.finditer(text)]
    return found + ([one.group() for one in MANY.finditer(text)] if counts else [])


def files_in(folder: Path) -> Mapping[Path, tuple[int, int]]:
    """Return every file in ``folder``, with what changes where it is written."""
    found = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in found}


def contents(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Yield the content of files, and of what is packed in them, each with its name."""
    for path in sorted(paths):
        yield from _unpacked(str(path), path.read_bytes())


def _unpacked(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    if zipfile.is_zipfile(BytesIO(content)):
        with zipfile.ZipFile(BytesIO(content)) as packed:
            for one in packed.namelist():
                yield from _unpacked(f"{name}/{one}", packed.read(one))
        return
    if content.startswith(_GZIP):
        content = gzip.decompress(content)
    yield name, content.decode("utf-8", "replace")


@dataclass(kw_only=True)
class CutRunner:
    """Runs commands in an installation, whose files are in ``folder``."""

    izin: Izin
    places: Mapping[str, Any]
    folder: Path
    _count: int = field(default=0)

    @property
    def theirs(self) -> tuple[str, ...]:
        """What a line may name of another customer: it is known to whoever types it."""
        return tuple(str(value) for name, value in self.places.items() if name.startswith("their_"))

    async def faults(self, name: str, cut: Cut, *, also_json: bool = False) -> list[str]:
        """Return what is wrong with the runs of a command; lines that do not say ``--output=json``
        are run with it too, where ``also_json`` and the command has that.
        """
        found = []
        for line in cut.lines:
            for more in ((), (_JSON,)) if also_json and _has_json(name, line) else ((),):
                shown = await self._run(name, line, more)
                wanted = cut.shows.format(**self.places)
                if shown.code not in {0, 1}:
                    found.append(f"{shown.line}: exit code {shown.code}: {shown.texts[_OUTPUT]}")
                elif not any(wanted in text for text in shown.texts.values()):
                    found.append(f"{shown.line}: nothing of {wanted}: {shown.texts[_OUTPUT]}")
                others = list(shown.traces((), counts=cut.counts))
                if cut.whole and not others:
                    found.append(f"{shown.line}: shows nothing of others, and needs no reason")
                found += [] if cut.whole else others
        for line in (*cut.refused, *cut.selects_none):
            shown = await self._run(name, line, ())
            if (shown.code == 0) is (line in cut.refused):
                found.append(f"{shown.line}: exit code {shown.code}: {shown.texts[_OUTPUT]}")
            found += shown.traces(self.theirs, counts=cut.counts)
        return found

    async def _run(self, name: str, line: str, more: tuple[str, ...]) -> "_Shown":
        self._count += 1
        folder = self.folder / f"run-{self._count}"
        (folder / "empty").mkdir(parents=True)
        words = [
            word.format(**self.places, new=folder / f"new-{number}", new_folder=folder / "empty")
            for number, word in enumerate(shlex.split(line))
        ]
        before = files_in(self.folder)
        done = await self.izin(*name.split(), *words, *more)
        changed = dict(files_in(self.folder).items() - before.items())
        texts = {_OUTPUT: done.stdout + done.stderr, **dict(contents(changed))}
        return _Shown(line=" ".join((name, *words, *more)), code=done.exit_code, texts=texts)


def _has_json(name: str, line: str) -> bool:
    return _JSON not in line and any("--output" in one.opts for one in COMMANDS[name].params)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What a run printed, and the files that it wrote."""

    line: str
    code: int
    texts: Mapping[str, str]

    def traces(self, given: tuple[str, ...], *, counts: bool) -> Iterator[str]:
        """Yield where it has something of others; in files, numbers may be offsets and sizes."""
        for where, text in self.texts.items():
            found = traces(text, given, counts=counts and where == _OUTPUT)
            if found:
                yield f"{self.line}: {where} has {found[:_SHOWN]}: {text[:2000]}"


@asynccontextmanager
async def gate(kafka: KafkaSettings) -> AsyncIterator[Mapping[str, str]]:
    """Serve the gate; yield the URL of each listener."""
    settings = GateSettings(port=free_port(), operations_port=free_port())
    with closing(HttpListeners(settings, server="the gate", variables="IZIN_TEST")) as listeners:
        how = partial(gate_server.run, kafka, settings, Codec(), listeners)
        async with _served("gate", settings, how) as urls:
            yield urls


@asynccontextmanager
async def intake(kafka: KafkaSettings) -> AsyncIterator[Mapping[str, str]]:
    """Serve the intake; yield the URL of each listener."""
    settings = IntakeSettings(port=free_port(), operations_port=free_port())
    with closing(HttpListeners(settings, server="the intake", variables="IZIN_TEST")) as listeners:
        how = partial(intake_server.run, kafka, settings, Codec(), listeners)
        async with _served("intake", settings, how) as urls:
            yield urls


@asynccontextmanager
async def every(installed: Installation, worker: Worker) -> AsyncIterator[Mapping[str, str]]:
    """Serve all of them; yield the URL of each listener."""
    async with AsyncExitStack() as stack:
        found: dict[str, str] = {}
        for serve in (gate, intake):
            found |= await stack.enter_async_context(serve(installed.kafka))
        fed = await stack.enter_async_context(feeds.serving(installed.kafka))
        found |= {"feeds": str(fed.client.base_url), f"{OPERATIONS}feeds": fed.operations}
        await stack.enter_async_context(worker.serving())
        found["sink"] = f"http://127.0.0.1:{worker.port}"
        found[f"{OPERATIONS}sink"] = f"http://127.0.0.1:{worker.operations_port}"
        yield found


@asynccontextmanager
async def _served(
    name: str,
    settings: GateSettings | IntakeSettings,
    run: Callable[[asyncio.Event], Awaitable[None]],
) -> AsyncIterator[Mapping[str, str]]:
    stopping = asyncio.Event()
    running = asyncio.ensure_future(run(stopping))
    url = f"http://127.0.0.1:{settings.port}"
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            await feeds.until_ready(client, running)
        operations = f"http://127.0.0.1:{settings.operations_port}"
        yield MappingProxyType({name: url, f"{OPERATIONS}{name}": operations})
    finally:
        stopping.set()
        await running
