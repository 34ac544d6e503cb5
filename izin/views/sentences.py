"""Sentences for people, which are known in English and in Turkish.

A command prints them in English, with what to type; a screen says them in the language of who reads
it, with where to do it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from izin.consent import TURKEY, Violation


@dataclass(frozen=True, slots=True)
class Instruction:
    """What somebody types, or does on a screen instead."""

    line: str
    here: str = ""
    """English, with a Turkish text; empty: there is no screen for it."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence: ``message`` is English, and has ``%(name)s`` for each of ``values``."""

    message: str
    values: Mapping[str, object] = field(default_factory=dict)
    """Instants and commands among them are written for who reads it; so are sentences."""

    def __str__(self) -> str:
        """Return it as commands print it."""
        return self.filled(str, _printed)

    def filled(self, translated: Callable[[str], str], written: Callable[[object], object]) -> str:
        """Return it in another language, with its values as they are ``written`` there."""
        values = {
            name: value.filled(translated, written)
            if isinstance(value, Sentence)
            else written(value)
            for name, value in self.values.items()
        }
        return translated(self.message) % values if values else translated(self.message)


def _printed(value: object) -> object:
    match value:
        case datetime():
            return turkish(value)
        case Instruction():
            return value.line
        case Violation():
            return value.reason
        case _:
            return value


def sentence(message: str, **values: object) -> Sentence:
    """Return the sentence of a message and its values."""
    return Sentence(message, values)


def joined(first: Sentence, *others: Sentence) -> Sentence:
    """Return sentences as one, with semicolons between them."""
    for one in others:
        first = sentence("%(first)s; %(then)s", first=first, then=one)
    return first


def turkish(at: datetime | str | None) -> str:
    """Return the instant ``at`` (or its ISO text) in Turkish time, ``dd.mm.yyyy hh:mm:ss``."""
    if not at:
        return ""
    instant = datetime.fromisoformat(at) if isinstance(at, str) else at
    return instant.astimezone(TURKEY).strftime("%d.%m.%Y %H:%M:%S")
