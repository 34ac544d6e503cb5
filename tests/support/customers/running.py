"""Run a command for one customer, and say what it shows of others."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.sinks.sink_harness import Izin
from tests.support.acts import commands
from tests.support.customers.cut import Cut
from tests.support.customers.traces import contents, files_in, traces

COMMANDS = dict(commands())
_SHOWN = 6
_OUTPUT = "the output"
_JSON = "--output=json"


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
