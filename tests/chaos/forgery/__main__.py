"""``python -m tests.chaos.forgery``: forgeries and what is genuine; ``make chaos STAGE=forgery``.

It ends with the lines ``forgery-found``, ``forgery-missed``, ``forgery-archives``,
``forgery-ledgers`` and ``forgery-faults``, each ``ok`` or ``short``. Exit codes: 0 every forgery
was found by each verifier that can see it, and nothing genuine has a fault; 1 else; 2 wrong usage.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Annotated

import typer
from pydantic import SecretStr

from benchmarks.results import RunReport
from izin.consent import IzinError
from izin.evidence.verification import Evidence
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.history import verify as chains
from izin.ledger.record import Anchor
from izin.ledger.webhooks import deliveries
from izin.local import Postgres, create_database
from izin.runtime.settings import LedgerSettings
from tests.chaos.command import (
    Seed,
    Show,
    counted,
    listed,
    run_stage,
    start,
)
from tests.chaos.forgery import archives, forger
from tests.chaos.forgery.copies import (
    LATER,
    OPENED,
    HistoryCopy,
    UnmadeArchiveError,
    archive_of,
    places_of,
    read,
    replaced,
    written,
)
from tests.support.servers.distribution import drop_database

_TEMPLATE = "template_ledger"
_POOL = 4
_TRIES = 200
"""Histories in which a kind is looked for: not each has something of it."""


@dataclass(slots=True, kw_only=True)
class ForgeryVerdict:
    """What was found."""

    archives: int = 0
    """Genuine ones."""
    ledgers: int = 0
    """Genuine ones, in PostgreSQL."""
    forgeries: int = 0
    found: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """Of forgeries, each with the verifier that had to find it."""
    faults: list[str] = field(default_factory=list)
    """Of what is genuine."""
    missed: list[str] = field(default_factory=list)
    """Forgeries that were not found."""

    def count(self, kind: str, seed: str, *, is_found: bool) -> None:
        """Add a forgery."""
        self.forgeries += 1
        self.kinds[kind] += 1
        self.found += is_found
        if not is_found:
            self.missed.append(f"{kind} (seed {seed})")


@dataclass(slots=True, kw_only=True)
class ForgeryCampaign:
    """So many genuine archives and ledgers, and forgeries of each sort."""

    postgres: str
    template: str
    """The name of a migrated, empty ledger."""
    seed: int
    archives: int
    ledgers: int
    forgeries: int
    """Of archives and of ledgers, half of them each; others are found in archives of forged
    ledgers.
    """
    on_progress: Callable[[str], None] = lambda _: None
    verdict: ForgeryVerdict = field(default_factory=ForgeryVerdict)

    async def run(self) -> ForgeryVerdict:
        """Make and verify all of it."""
        self._genuine_archives()
        self._forged_archives()
        kinds = cycle(forger.KINDS)
        for number in range(self.ledgers):
            share = range(number, self.forgeries // 2, self.ledgers)
            await self._ledger(f"{self.seed}/ledger/{number}", [next(kinds) for _ in share])
            self.on_progress(f"{number + 1}/{self.ledgers} ledgers")
        return self.verdict

    def _genuine_archives(self) -> None:
        for number in range(self.archives):
            seed = f"{self.seed}/archive/{number}"
            made = archives.genuine(Random(seed))
            found = archives.verify(made.evidence.packed(), made.anchors)
            self.verdict.archives += 1
            if not found.is_proven:
                self.verdict.faults.append(f"archive (seed {seed}): {found.lines()[:3]}")
            if number % 100 == 0:
                self.on_progress(f"{number}/{self.archives} archives")

    def _forged_archives(self) -> None:
        kinds = cycle(archives.KINDS)
        for number in range(self.forgeries - self.forgeries // 2):
            seed, kind = f"{self.seed}/forgery/{number}", next(kinds)
            made, forged = forged_archive(Random(seed), kind)
            self.verdict.count(f"archive, {kind}", seed, is_found=archives.is_found(forged, made))
            if number % 100 == 0:
                self.on_progress(f"{number} forged archives")

    async def _ledger(self, seed: str, kinds: Sequence[str]) -> None:
        """Write a genuine ledger, and forge it, a kind at a time."""
        random, name = Random(seed), f"forged_{seed.replace('/', '_')}"
        url = create_database(self.postgres, name, template=self.template)
        settings = LedgerSettings(database_url=SecretStr(url), pool_size=_POOL)
        try:
            async with Ledger(settings, owner=1) as ledger:
                anchors = await written(ledger, random)
                self.verdict.ledgers += 1
                self.verdict.faults += [
                    f"ledger (seed {seed}): {one}" for one in await _faults(ledger, anchors)
                ]
                await self._forge(ledger, anchors, random, seed, kinds)
        finally:
            drop_database(self.postgres, name)

    async def _forge(
        self,
        ledger: Ledger,
        anchors: Sequence[Anchor],
        random: Random,
        seed: str,
        kinds: Sequence[str],
    ) -> None:
        history = await read(ledger)
        genuine = archive_of(history, places_of(anchors))
        links = {(one.shard, one.place): one.link.hex() for one in anchors}
        async with ledger.session() as connection:
            await connection.execute(OPENED)
            for kind in kinds:
                made = _of_some_kind(random, history, anchors, kind)
                await replaced(connection, made.history)
                is_found = bool(await _faults(ledger, anchors))
                self.verdict.count(f"ledger, {made.kind}", seed, is_found=is_found)
                forged = _archive(made.history, anchors)
                if not made.touches_rows or (forged and _said(forged) <= _said(genuine)):
                    continue  # that rows are left out, the ledger alone shows
                is_found = forged is None or archives.is_found(
                    forged.packed(), archives.GenuineArchive(genuine, links)
                )
                self.verdict.count(f"archive of ledger, {made.kind}", seed, is_found=is_found)


def forged_archive(random: Random, kind: str) -> tuple[archives.GenuineArchive, bytes]:
    """Return an archive, and a forgery of it of a kind."""
    for _ in range(_TRIES):
        made = archives.genuine(random)
        try:
            forged = archives.KINDS[kind](archives.ArchiveForger(random, made))
        except forger.NothingToForgeError:
            continue
        if forged != made.evidence.packed():
            return made, forged
    raise forger.NothingToForgeError(kind)


def _of_some_kind(
    random: Random, history: HistoryCopy, anchors: Sequence[Anchor], kind: str
) -> forger.LedgerForger:
    """Return a forgery of a kind, or of another one where the history has nothing of it."""
    for _ in range(_TRIES):
        for one in (kind, random.choice([*forger.KINDS])):
            try:
                return forger.forged(random, history, anchors, one)
            except forger.NothingToForgeError:
                continue
    raise forger.NothingToForgeError(kind)


def _said(evidence: Evidence) -> set[object]:
    """Return what rows and acknowledgements of an archive say, and where."""
    rows = {(row.shard, row.text, row.salt, row.decision) for row in evidence.rows}
    return {*rows, *evidence.batches.rows}


def _archive(history: HistoryCopy, anchors: Sequence[Anchor]) -> Evidence | None:
    """Return the archive of a forged history; None: the ledger makes none of it."""
    try:
        made = archive_of(history, places_of(anchors))
        made.packed()
    except (UnmadeArchiveError, IzinError, KeyError, ValueError, TypeError):
        return None
    return made


async def _faults(ledger: Ledger, anchors: Sequence[Anchor]) -> list[str]:
    """Return what ``izin ledger verify`` names, with the anchors."""
    try:
        found = await chains.verify(ledger, anchors, now=LATER)
        lost = max((one.batch for one in found.losses), default=0)
        sent = await deliveries.verify(
            ledger,
            found.batches,
            found.erased_deliveries,
            read_at=datetime.now(UTC),
            lost_until=lost,
        )
    except IzinError as error:
        return [f"not verified: {error}"]
    return [str(one) for one in (*found.faults, *found.unprovable, *sent.faults)]


def main(
    archives: Annotated[int, typer.Option(min=1, help="Genuine archives.")] = 10_000,
    ledgers: Annotated[int, typer.Option(min=1, help="Genuine ledgers.")] = 100,
    forgeries: Annotated[
        int, typer.Option(min=2, help="Forgeries, of archives and of ledgers half of them each.")
    ] = 2000,
    seed: Seed = 1,
    folder: Annotated[Path, typer.Option(help="Data and the result.")] = Path(
        ".izin/chaos-forgery"
    ),
) -> None:
    """Forge archives and ledgers behind an anchor that the verifier holds."""

    def campaign(show: Show) -> ForgeryVerdict:
        with Postgres(folder) as postgres:
            asyncio.run(migrate(create_database(postgres.url, _TEMPLATE)))
            made = ForgeryCampaign(
                postgres=postgres.url,
                template=_TEMPLATE,
                seed=seed,
                archives=archives,
                ledgers=ledgers,
                forgeries=forgeries,
                on_progress=show,
            )
            return asyncio.run(made.run())

    raise run_stage(
        "forgery",
        folder,
        campaign,
        lambda verdict, seconds: report(verdict, seed=seed, seconds=seconds),
    )


def report(verdict: ForgeryVerdict, *, seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    summary = (
        f"{verdict.found} of {verdict.forgeries} forgeries found; {verdict.archives} genuine "
        f"archives and {verdict.ledgers} ledgers have {len(verdict.faults)} faults; {seconds:.0f} s"
    )
    return RunReport(
        tables=[summary, counted(verdict.kinds), *listed([*verdict.missed, *verdict.faults])],
        data={
            "seed": seed,
            "seconds": round(seconds),
            **asdict(verdict),
            "kinds": verdict.kinds,  # asdict spoils a Counter
        },
        figures={
            "forgery-found": verdict.found,
            "forgery-missed": len(verdict.missed),
            "forgery-archives": verdict.archives,
            "forgery-ledgers": verdict.ledgers,
            "forgery-faults": len(verdict.faults),
        },
    )


if __name__ == "__main__":
    start("forgery", main)
