"""``python -m tools.hand_overs TEST --call izin.module:Name``: a value's way through the rooms.

Runs a test and watches the first call of the function that ``--call`` names, with all that it
calls. A room is a package. Each call of a function of another room is a hand-over; one into a room
that the way has left before is a return: whoever reads the code has to go back there. A call that
waits and goes on is one call.
"""

import dis
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType

import pytest


@dataclass(slots=True)
class Way:
    """The rooms that a call went through, in their order."""

    rooms: list[str] = field(default_factory=list)

    def enter(self, room: str) -> None:
        """Add a call of a function of ``room``."""
        if not self.rooms or self.rooms[-1] != room:
            self.rooms.append(room)

    @property
    def returns(self) -> int:
        """How often it came to a room where it had been before."""
        return len(self.rooms) - len(set(self.rooms))

    def __str__(self) -> str:
        """Return the rooms by how often they were entered, and the sum."""
        counts = {room: self.rooms.count(room) for room in dict.fromkeys(self.rooms)}
        lines = [f"{count:>5}  {room}" for room, count in counts.items()]
        hand_overs = max(0, len(self.rooms) - 1)
        return "\n".join([*lines, f"hand-overs: {hand_overs}, returns: {self.returns}"])


class Watch:
    """A plugin of pytest that follows the first call of ``name``, a qualified name in ``module``;
    the rooms are the packages below ``package``.
    """

    def __init__(self, module: str, name: str, package: str) -> None:
        self.way = Way()
        self._module, self._name, self._package = module, name, package
        self._root: FrameType | None = None
        self._seen = set[FrameType]()
        """What was called; a frame that waited is called again where it goes on."""
        self._is_over = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> object:
        """Watch the test."""
        sys.setprofile(self._note)
        try:
            return (yield)
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        if self._is_over or event not in {"call", "return"}:
            return
        if event == "return":
            self._is_over = frame is self._root and not _waits(frame)
            return
        if self._root is None and self._is_watched(frame):
            self._root = frame
        if self._root is not None and frame not in self._seen and self._is_within(frame):
            self._seen.add(frame)
            if room := self._room(frame):
                self.way.enter(room)

    def _is_watched(self, frame: FrameType) -> bool:
        return (
            frame.f_code.co_qualname == self._name
            and frame.f_globals.get("__name__") == self._module
        )

    def _is_within(self, frame: FrameType) -> bool:
        """Whether ``frame`` was called by the watched call, and not by another task."""
        above: FrameType | None = frame
        while above is not None and above is not self._root:
            above = above.f_back
        return above is not None

    def _room(self, frame: FrameType) -> str:
        module = str(frame.f_globals.get("__name__", ""))
        return module.rpartition(".")[0] if module.startswith(f"{self._package}.") else ""


def _waits(frame: FrameType) -> bool:
    """Whether a coroutine or a generator is left where it waits, and not where it ends."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] == "YIELD_VALUE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the test and print the way; return pytest's exit code, or 1 where nothing was called."""
    parser = ArgumentParser(prog="python -m tools.hand_overs")
    parser.add_argument("test", help="the test, as pytest names it")
    parser.add_argument("--call", required=True, help="what is followed: izin.module:Name.method")
    given = parser.parse_args(arguments)
    module, _, name = given.call.partition(":")
    watch = Watch(module, name, module.partition(".")[0])
    code = pytest.main(["-q", "-p", "no:randomly", "-p", "no:cacheprovider", given.test], [watch])
    if not watch.way.rooms:
        sys.stderr.write(f"{given.call} was not called\n")
        return 1
    sys.stdout.write(f"{watch.way}\n")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
