"""The kinds of replays: what each does with its plan. A kind is imported when it is needed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Annotated, Any, Protocol

import typer

from izin.cli.terminal import is_key, named_recipients
from izin.consent import SourceError
from izin.runtime.plan import DESIRED_CONSENTS, REBUILD, Plan, Selection

LEDGER = "ledger"

_KINDS: Mapping[str, str] = MappingProxyType(
    {
        DESIRED_CONSENTS: "izin.cli.replay.rebuilds:DesiredConsentsReplay",
        LEDGER: "izin.cli.replay.rebuilds:LedgerReplay",
    }
)
"""Where each kind of rebuild is, by its target."""
BrandOption = Annotated[
    list[int] | None, typer.Option("--brand", min=1, help="Of this brand; repeat it.")
]
CustomerOption = Annotated[
    list[str] | None, typer.Option("--customer", help="Of this customer; repeat it.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """What a dry run is asked for."""

    path: Path
    """Of the plan: a new file, or the one of a dry run that was stopped."""
    target: str
    selection: Selection
    workers: int
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySummary:
    """What a replay found, did, and has left."""

    columns: Mapping[str, str]
    """The names in JSON and their titles in the table."""
    rows: Sequence[Sequence[object]]
    """A cell may be a mapping: of fields to what stands and what should stand."""
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Digests and counts: JSON values, printed below the table."""
    notes: Sequence[str] = ()
    """Sentences for a person, remedies included."""
    to_execute: int = 0
    """How much the execution has still to do."""
    to_look_at: int = 0
    """How much is left to a person."""

    @property
    def left(self) -> int:
        """How much is still to be done."""
        return self.to_execute + self.to_look_at


def compared(fields: Mapping[str, Sequence[object]]) -> dict[str, dict[str, object]]:
    """Return a cell of fields: by name, what stands and what should stand."""
    return {
        name: {"stands": stands, "should_stand": wanted}
        for name, (stands, wanted) in fields.items()
    }


class Replay(Protocol):
    """One kind of replay. Everything may raise what ``izin.replay.errors`` names."""

    def dry_run(self, request: ReplayRequest) -> None:
        """Write the plan, and find out what its execution would do; go on where one was stopped."""

    def check(self, plan: Plan, path: Path) -> None:
        """Raise if the plan cannot be executed now; nothing is changed."""

    def execute(self, plan: Plan, path: Path, *, by: str) -> None:
        """Execute the plan; go on where an execution was stopped."""

    def summary(self, plan: Plan, path: Path, *, unmasked: bool) -> ReplaySummary:
        """Return what was found, done, and is left; recipients are masked unless ``unmasked``."""


def kind_of(kind: str, target: str) -> Replay:
    """Return what replays a ``kind`` for a ``target``.

    Raises:
        SourceError: there is no such kind; the plan is of another command or release.
    """
    if kind != REBUILD or target not in _KINDS:
        raise SourceError(
            f"izin replay has no {kind} of {target}: use the command or release that planned it"
        )
    made: Replay = resolve_name(_KINDS[target])()
    return made


def selection_of(
    *,
    recipients: Iterable[str] | None,
    brands: Iterable[int] | None,
    since: datetime | None = None,
    until: datetime | None = None,
    customers: Iterable[str] | None = None,
) -> Selection:
    """Return the selection of these options.

    Raises:
        SourceError: a recipient is neither a phone number nor an e-mail address nor a key, or
            nothing can match.
    """
    named = list(named_recipients(recipients or ()))
    return Selection(
        since=since,
        until=until,
        keys=frozenset(one for one in named if is_key(one)),
        recipients=frozenset(one for one in named if not is_key(one)),
        brands=frozenset(brands or ()),
        customers=frozenset(customers or ()),
    )
