"""The mappings of an installation: ``NAME.toml`` in a folder, and beside it ``NAME.secret``.

A file that changes is read anew at a delivery soon after; where it cannot be used, what it said
before stays in use, and the fault is shown. So a person writes and tries a mapping while everything
runs.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Final, Generic, NamedTuple

from izin.producers.mapping.saved import MappingError, mapping_at
from izin.producers.sources.source import P, PayloadSource
from izin.runtime.http_server.problems import ProblemText
from izin.runtime.logs import get_logger

RECIPES: Final = Path(__file__).with_name("recipes")
"""Mappings of systems that are widely used, to begin with."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
UNKNOWN_SOURCE: Final = ProblemText(
    404,
    "No such source",
    "this intake has no mapping of this name in IZIN_INTAKE_SOURCES, or of a form in "
    "IZIN_INTAKE_FORMS",
)
UNUSABLE_SOURCE: Final = ProblemText(
    503,
    "Mapping unusable",
    "the mapping of this source, or its secret, cannot be read; /health/ready of the operators' "
    "listener and the log say why; send this again",
    60,
)
_log = get_logger(__name__)


class _Known(NamedTuple, Generic[P]):
    version: tuple[int, ...]
    source: PayloadSource[P] | None
    fault: str
    looked_at: float = 0.0
    """By ``time.monotonic``."""


class SourceFolder(Generic[P]):
    """The sources whose mappings, of a ``kind``, are in ``folder``; None: there are none."""

    def __init__(self, folder: Path | None, kind: type[P], *, fresh_for: float = 0.0) -> None:
        """``fresh_for`` so many seconds after a look at a file it is not looked at again."""
        self._folder = folder
        self._kind = kind
        self._fresh_for = fresh_for
        self._known: dict[str, _Known[P]] = {}

    def names(self) -> Iterator[str]:
        """Yield the name of each mapping there is."""
        for path in sorted(self._folder.glob("*.toml") if self._folder else ()):
            if _NAME.fullmatch(path.stem):
                yield path.stem

    def get(self, name: str) -> PayloadSource[P]:
        """Return the source ``name`` as its files have it now.

        Raises:
            RequestRefusedError: there is none (404), or its mapping never could be used (503).
        """
        known, now = self._known.get(name), monotonic()
        if known is None or now - known.looked_at >= self._fresh_for:
            known = self._look(name, known, now)
        if known.source is None:
            raise UNUSABLE_SOURCE.error()
        return known.source

    def _look(self, name: str, known: _Known[P] | None, now: float) -> _Known[P]:
        if self._folder is None or not _NAME.fullmatch(name):
            raise UNKNOWN_SOURCE.error()
        paths = [self._folder / f"{name}.{kind}" for kind in ("toml", "secret")]
        try:
            version = tuple(path.stat().st_mtime_ns for path in paths)
        except FileNotFoundError:
            if not paths[0].exists():
                self._known.pop(name, None)
                raise UNKNOWN_SOURCE.error() from None
            version = (paths[0].stat().st_mtime_ns,)
        if known is None or known.version != version:
            known = self._read(name, version, known)
        self._known[name] = known._replace(looked_at=now)
        return known

    def _read(self, name: str, version: tuple[int, ...], before: _Known[P] | None) -> _Known[P]:
        try:
            return _Known(version, source_at(self._folder or Path(), name, self._kind), "")
        except MappingError as error:
            _log.error("mapping unusable", source=name, error=str(error))
            return _Known(version, None if before is None else before.source, str(error))

    def faults(self) -> Mapping[str, str]:
        """Return what is wrong with the mappings that were read, by source."""
        return {f"source {name}": one.fault for name, one in self._known.items() if one.fault}


def source_at(folder: Path, name: str, kind: type[P]) -> PayloadSource[P]:
    """Return the source ``name`` of a ``folder``; raises MappingError."""
    mapping = mapping_at(folder / f"{name}.toml", kind)
    return PayloadSource(name, mapping, () if mapping.sender is None else secrets_at(folder, name))


def secrets_at(folder: Path, name: str) -> tuple[str, ...]:
    """Return what proves the sender of the source ``name``; raises MappingError."""
    try:
        text = (folder / f"{name}.secret").read_text("utf-8")
    except OSError as error:
        raise MappingError(
            f"{name}.secret: it cannot be read: {error.strerror}; write the secret that the sender "
            "signs with into it, one in a line"
        ) from error
    secrets = tuple(filter(None, map(str.strip, text.splitlines())))
    if not secrets:
        raise MappingError(f"{name}.secret: it has no secret; write one in a line")
    return secrets
