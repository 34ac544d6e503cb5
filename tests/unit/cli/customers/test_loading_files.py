"""The files of a first loading share what is read of Kafka."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from izin.cli.customers.onboard import LoadingFiles
from izin.producers.files import FindOptOuts, Import
from tests.support.builders import BRAND


class Session:
    """Imports nothing, and notes for which brands the opt-outs were read."""

    def __init__(self) -> None:
        self.read: list[Collection[int]] = []
        self.given: list[object] = []

    def opt_outs(self, brands: Collection[int], begin: object) -> object:
        assert begin
        self.read.append(brands)
        return object()

    def run(self, path: Path, how: Import, begin: object, *, opt_outs: FindOptOuts) -> str:
        assert begin
        self.given.append(opt_outs([int(path.stem)]))
        return how.report_of(path).name


def test_standing_opt_outs_are_read_once_for_all_files(tmp_path: Path) -> None:
    """For every brand of the loading, whichever the first file has."""
    session: Any = Session()
    paths = [tmp_path / f"{BRAND + one}.csv" for one in range(3)]
    files = LoadingFiles(paths=paths, how=Import(), session=session)
    brands = [BRAND, BRAND + 1, BRAND + 2]
    done = files.read(Import(), tmp_path, brands=brands)
    assert list(done) == [f"{path.name}.report.csv" for path in paths]
    assert session.read == [brands]
    assert len(set(map(id, session.given))) == 1
