"""A directory with one brand, a publisher without a broker, a clock that tests move."""

import csv
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest

from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.producers.files import Import, ImportReport, import_file
from tests.support.builders import BRAND, CUSTOMER
from tests.unit.producers.fakes import FakePublisher, MovingClock, intake_client

ImportOf = Callable[..., ImportReport]


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def directory() -> BrandDirectory:
    return BrandDirectory(
        [RegisteredBrand(brand_code=BRAND, iys_code=200001, customer_id=CUSTOMER, name="Example")]
    )


@pytest.fixture
def fake(clock: MovingClock) -> FakePublisher:
    return FakePublisher(clock)


@pytest.fixture
async def client(
    fake: FakePublisher, directory: BrandDirectory, clock: MovingClock
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an intake that publishes to `fake`."""
    async with intake_client(fake, directory, clock) as client:
        yield client


@pytest.fixture
def import_of(fake: FakePublisher, directory: BrandDirectory, clock: MovingClock) -> ImportOf:
    """Import a file with options of ``Import`` and, as they are, ``opt_outs`` and ``progress``."""

    def run(path: Path, **given: Any) -> ImportReport:  # noqa: ANN401  # options of any type
        apart = {name: given.pop(name) for name in ("opt_outs", "progress") if name in given}
        standing = apart.get("opt_outs")
        if standing is not None and not callable(standing):
            apart["opt_outs"] = lambda _brands: standing
        return import_file(path, fake, directory, clock=clock, how=Import(**given), **apart)

    return run


@pytest.fixture
def import_lines(tmp_path: Path, import_of: ImportOf) -> ImportOf:
    """Import lines as ``export.csv``, in the encoding given, with what ``import_of`` takes."""

    def run(*lines: str, encoding: str = "utf-8", **given: Any) -> ImportReport:  # noqa: ANN401  # the same
        path = tmp_path / "export.csv"
        path.write_bytes("\r\n".join(lines).encode(encoding))
        return import_of(path, **given)

    return run


def reported(report: ImportReport) -> list[dict[str, str]]:
    """Return the rows of the report file, by the names of its columns."""
    header, *rows = cells_of(report)
    return [dict(zip(header, row, strict=True)) for row in rows]


def cells_of(report: ImportReport) -> list[list[str]]:
    """Return the header and the rows of the report file, in either format."""
    path = report.report_path
    if path.suffix == ".xlsx":
        rows = openpyxl.load_workbook(path).active.iter_rows(values_only=True)
        return [["" if one is None else one for one in row] for row in rows]
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.reader(stream, delimiter=";"))
