"""An importer of lines into a publisher without a broker."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.files import Import, ImportReport, import_file
from tests.unit.producers.fakes import FakePublisher

ImportOf = Callable[..., ImportReport]


@pytest.fixture
def import_of(
    fake: FakePublisher, directory: BrandDirectory, clock: Callable[[], datetime]
) -> ImportOf:
    """Import a file with options of ``Import`` and, as they are, ``opt_outs`` and ``progress``."""

    def run(path: Path, **given: Any) -> ImportReport:  # noqa: ANN401  # options of any type
        apart = {name: given.pop(name) for name in ("opt_outs", "progress") if name in given}
        standing = apart.get("opt_outs")
        if standing is not None and not callable(standing):
            apart["opt_outs"] = lambda _brands: standing
        return import_file(path, fake, directory, clock=clock, how=Import(**given), **apart)

    return run
