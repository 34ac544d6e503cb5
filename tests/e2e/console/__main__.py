"""``python -m tests.e2e.console``: every screen in a real browser; ``make browser``.

Each screen is shown in both languages, both themes and two widths, over a ledger that has something
for each. A fault is a violation of WCAG 2.2 AA that axe finds, something that is cut, a script that
fails, what the Content-Security-Policy refuses, or a screen to which nothing leads. Exit codes: 0
none, 1 some, 2 wrong usage.
"""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.bars import bars_of
from benchmarks.results import RESULTS, RunReport, progress, publish
from izin.kafka.clients import ensure_topics
from izin.ledger.db.migrate import migrate
from izin.local import Kafka, Postgres
from izin.runtime.logs import configure
from izin.runtime.settings import KafkaSettings, LogSettings
from tests.e2e.console.tasks import REACHED, TASKS, sign_in_by_keyboard
from tests.support.console.browsing import (
    AXE,
    NARROW,
    NO_AXE,
    NO_BROWSER,
    WIDE,
    Look,
    chromium,
    chromium_path,
    keep,
    screens,
    visitor,
)
from tests.support.console.data import ADMIN, PASSWORD
from tests.support.console.site import Site, console, filled
from tests.support.project_rules import ROOT

_SHOWN = {
    "/": "overview",
    "recipient: found": "recipient",
    "/worklist": "worklist",
    "/deadlines": "deadlines",
    "import: checked": "imports",
}
"""The screens that the documentation shows, and the names of their pictures."""
_PICTURES = ROOT / "docs" / "images"
_LOOKS = [
    Look(language=language, theme=theme, width=width)
    for language, theme, width in itertools.product(("tr", "en"), ("light", "dark"), (NARROW, WIDE))
]
_SHOWN_AS = Look(language="en", width=WIDE)


def run(
    *,
    pictures: Annotated[Path | None, typer.Option(help="Keep every page here.")] = None,
    docs: Annotated[bool, typer.Option("--docs", help="Renew the pictures in docs.")] = False,
    tasks: Annotated[bool, typer.Option(help="Do the tasks by keyboard too.")] = True,
    only: Annotated[str, typer.Option(help="Only looks with this in their name.")] = "",
) -> None:
    """Show every screen in every look, and list what is wrong with each."""
    if chromium_path() is None or not AXE.exists():
        typer.echo(NO_BROWSER if chromium_path() is None else NO_AXE, err=True)
        raise typer.Exit(1)
    configure(LogSettings(level="critical"))
    found: list[str] = []
    count = 0
    with TemporaryDirectory(prefix="izin-browser-") as name, _site(Path(name)) as site:
        for look in (each for each in _LOOKS if only in str(each)):
            with chromium() as browser, visitor(browser, site, look) as one:
                one.sign_in()
                for screen in screens(one, REACHED):
                    count += 1
                    found += [f"{look}: {screen}: {fault}" for fault in one.faults()]
                    if pictures is not None:
                        file = screen.strip("/").replace("/", "-").replace(": ", "-") or "overview"
                        keep(one, pictures / str(look).replace(" ", "-"), file)
                    if docs and look == _SHOWN_AS and screen in _SHOWN:
                        keep(one, _PICTURES, _SHOWN[screen])
            progress().print(f"{look}: {len(found)} faults so far")
        if tasks:
            with chromium() as browser, visitor(browser, site, Look(width=WIDE)) as one:
                sign_in_by_keyboard(one, ADMIN, PASSWORD)
                for task in TASKS.values():
                    task(one)
    report = RunReport(
        tables=[f"{count} pages in {len(_LOOKS)} looks", *found],
        data={"pages": count, "faults": found},
        figures={"browser-faults": len(found)},
    )
    bars = [bar.name for bar in bars_of("browser")]
    raise typer.Exit(publish(report, bars=bars, results=RESULTS / "browser.json"))


@contextmanager
def _site(folder: Path) -> Iterator[Site]:
    """Run a console over a filled ledger, with servers of its own."""
    progress().print("starting the servers, and filling a ledger")
    with Postgres(folder) as postgres, Kafka(folder) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, partitions=1)
        ensure_topics(kafka)
        asyncio.run(migrate(postgres.url))
        filled(postgres.url, kafka, folder)
        with console(postgres.url, kafka, folder) as site:
            yield site


if __name__ == "__main__":
    typer.run(run)
