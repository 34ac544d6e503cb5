"""Files with recipients in full: they replace earlier ones of their kind, and no other file."""

from codecs import BOM_UTF8
from pathlib import Path

import pytest

from izin.cli.terminal import private_csv
from izin.cli.terminal.output import OtherFileError

HEADER = ("marka/brand", "alıcı/recipient")
ROW = ("100001", "ada@example.com")


@pytest.mark.parametrize("for_excel", [False, True])
def test_file_replaces_an_earlier_one(tmp_path: Path, for_excel: bool) -> None:
    """And an empty one; Excel in Turkey needs a BOM and semicolons."""
    path = tmp_path / "list.csv"
    path.touch()
    for _ in range(2):
        with private_csv(path, HEADER, for_excel=for_excel) as rows:
            rows.writerow(ROW)
    text = path.read_bytes()
    assert text.startswith(BOM_UTF8) is for_excel
    lines = text.decode("utf-8-sig").splitlines()
    assert lines == [(";" if for_excel else ",").join(one) for one in (HEADER, ROW)]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"telefon\r\n0555 000 00 01\r\n", b"%PDF", b"\xff\xfe", None])
def test_file_replaces_no_other(tmp_path: Path, content: bytes | None) -> None:
    """Such as the address book itself, given by mistake; nothing is left beside it."""
    path = tmp_path / "rehber.csv"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(OtherFileError, match="name another file"), private_csv(path, HEADER):
        pytest.fail("nothing is written")
    assert content is None or path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
