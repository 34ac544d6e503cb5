"""A first loading from the command line: what-if, import, application pack, what became void."""

import csv
import json
from codecs import BOM_UTF8
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from izin.consent import TURKEY
from izin.kafka.bounded_reader import read_all
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.integration.cli.conftest import Izin, ended, put_brand
from tests.integration.cli.test_explain import store_history
from tests.support.builders import BRAND, PHONE

HEADER = "telefon;e-posta;kanal;durum;kaynak;tarih;marka"
NOW = datetime.now(UTC)
LAWFUL, VOID = NOW - timedelta(hours=3), datetime(2023, 3, 6, 9, tzinfo=UTC)


def a_row(phone: str, given_at: datetime, *, status: str = "ONAY", brand: int = BRAND) -> str:
    """Return a row of a text message's consent."""
    at = f"{given_at.astimezone(TURKEY):%d.%m.%Y %H:%M:%S}"
    return f"{phone};;MESAJ;{status};HS_WEB;{at};{brand}"


def a_file(folder: Path, *rows: str) -> Path:
    """Write an address book."""
    path = folder / "rehber.csv"
    path.write_text("\r\n".join((HEADER, *rows)) + "\r\n", "utf-8")
    return path


@pytest.fixture
def company(izin: Izin, brand: int, ledger: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the id of a customer with a brand, of which a consent is known."""
    for name in ("IYS_USERNAME", "IYS_PASSWORD"):
        monkeypatch.setenv(name, "fake")
    store_history()
    words = ("brands", "add", str(brand), "--iys-code=100001", "--customer=acme", "--name=One")
    assert izin(*words).exit_code == 0
    return "acme"


def events(topics: KafkaSettings) -> list[Mapping[str, Any]]:
    """Return every event on both lanes."""
    lanes = (topics.topics.events, topics.topics.express)
    return [one.value for lane in lanes for one in read_all(topics, Codec(), lane)]


@pytest.mark.broker
@pytest.mark.database
def test_onboard_says_what_it_would_do_and_publishes_what_is_lawful(
    izin: Izin, company: str, topics: KafkaSettings, tmp_path: Path
) -> None:
    """Without --execute nothing is published, nor where a row is of another customer's brand; what
    is void is in the report, and never is.
    """
    path = a_file(
        tmp_path,
        a_row("0555 000 00 02", LAWFUL),
        a_row("0555 000 00 02", LAWFUL - timedelta(hours=1)),
        a_row("0555 000 00 03", VOID),
        a_row("0555 000 00 04", VOID, status="RET"),
        a_row(PHONE, LAWFUL),
    )
    assert izin("customers", "add", "beta", "--name=Beta").exit_code == 0
    ended(izin("customers", "onboard", "beta", path, "--execute"), 3, str(BRAND))
    assert izin("customers", "onboard", "nobody", path).exit_code == 3
    assert izin("customers", "onboard", company, path, "--brand=7").exit_code == 3
    assert izin("customers", "onboard", company, path, "--map", "x").exit_code == 2
    shown = ended(izin("customers", "onboard", company, path), 1)
    assert events(topics) == []
    for words in ("nothing was published", "at İYS's limit: 2 submissions", "known of 1 keys"):
        assert words in shown.stderr, words
    assert max(map(len, shown.stdout.splitlines())) <= 80
    done = ended(izin("customers", "onboard", company, path, "--execute", "--output", "json"), 1)
    result = json.loads(done.stdout)
    assert result["executed"]
    (lane,) = result["lanes"]
    found = [lane[one] for one in ("rows", "duplicates", "taken", "lawful", "void", "refused")]
    # The brand is active since 2020: both columns are the same.
    assert found == [5, 1, 2, 2, 1, 1]
    assert (result["void"], result["forecast"]["submissions"]) == (1, 2)
    assert [(one["rows"], one["published"], one["refused"]) for one in result["files"]] == [
        (5, 4, 1)
    ]
    published = {(one["recipient"], one["status"]) for one in events(topics)}
    assert published == {
        ("+905550000002", "ONAY"),
        ("+905550000004", "RET"),
        (PHONE, "ONAY"),
    }
    with Path(result["files"][0]["report"]).open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file, delimiter=";")
    assert (row["izin: satır/row"], row["izin: kod/code"]) == ("4", "IZIN-VOID")


@pytest.mark.broker
@pytest.mark.database
def test_pack_and_void_list_what_a_customer_must_do(
    izin: Izin, company: str, topics: KafkaSettings, ledger: str, tmp_path: Path
) -> None:
    """The pack counts ledger or files, has what the customer gave, and names what is missing."""
    given = ("signature=alone", "signatory=Ada", f"trade-mark:{BRAND}=2019-1")
    given = (*given, "undertaking=2026-03-02")
    assert izin("customers", "checklist", company, *given, "--by", "ada").exit_code == 0
    assert "0 items" in izin("customers", "checklist", company, *given, "--by", "ada").stderr
    shown = ended(izin("customers", "pack", company, "--out", tmp_path, "--output", "json"), 1)
    counted = json.loads(shown.stdout)
    assert counted["missing"] == [
        *("mersis", "authorisation", "opt-out-number", "opt-out-sms", "opt-out-url")
    ]
    assert [one["addresses"] for one in counted["brands"]] == [1]
    assert "Ada" in (tmp_path / "basvuru.html").read_text("utf-8")
    assert (tmp_path / "basvuru.html").stat().st_mode & 0o777 == 0o600
    ended(izin("customers", "pack", company, "--out", tmp_path), 3, "choose another folder")
    folder = tmp_path / "of-files"
    path = a_file(
        tmp_path,
        a_row("0555 000 00 02", LAWFUL),
        a_row("0555 000 00 03", VOID),
        f";ada@example.com;E-POSTA;ONAY;HS_WEB;01.02.2023 10:00:00;{BRAND}",
    )
    shown = izin("customers", "pack", company, path, "--out", folder, "--output", "json")
    counted = json.loads(shown.stdout)
    assert counted["brands"] == [
        {
            "brand_code": BRAND,
            "phones": 2,
            "emails": 1,
            "addresses": 3,
        }
    ]
    assert [one["addresses"] for one in counted["providers"]] == [3]
    assert "rehber.csv" in (folder / "basvuru.html").read_text("utf-8")
    put_brand(topics, BRAND + 1)
    check_brand_in_no_file(izin, company, tmp_path)
    check_void(izin, company, ledger, tmp_path)


def check_brand_in_no_file(izin: Izin, company: str, tmp_path: Path) -> None:
    """See that a brand of which the files have nothing keeps the addresses of the ledger: the
    provider's package is for all of its brands.
    """
    other, folder = BRAND + 1, tmp_path / "of-another"
    words = ("brands", "add", str(other), "--iys-code=100001", f"--customer={company}")
    assert izin(*words, "--name=Two").exit_code == 0
    path = a_file(tmp_path, a_row("0555 000 00 02", LAWFUL, brand=other), "12;;MESAJ;RET;;;")
    shown = izin("customers", "pack", company, path, "--out", folder)
    assert f"brand {BRAND} is in no file" in shown.stderr
    assert "provider 100001: 2 addresses" in shown.stderr
    assert "rehber.csv: 1 rows cannot be read, and are not counted" in shown.stderr
    page = (folder / "basvuru.html").read_text("utf-8")
    assert f"rehber.csv; dosyalarda olmayan marka {BRAND}: kayıtlı izinler" in page
    (tmp_path / "no-folder").touch()
    ended(
        izin("customers", "pack", company, "--out", tmp_path / "no-folder" / "below"),
        3,
        "cannot be made",
    )


def check_void(izin: Izin, company: str, ledger: str, tmp_path: Path) -> None:
    """See that void consents are listed by brand and channel as no send list, which each row says,
    and that an import refuses the file.
    """
    out = tmp_path / "void.csv"
    assert izin("customers", "void-consents", company, "--out", out).exit_code == 0
    out.unlink()
    with psycopg.connect(ledger) as connection:
        connection.execute("UPDATE consents SET state = 'expired', registered = 'NONE'")
    ended(
        izin("customers", "void-consents", company, f"--brand={BRAND}", "--out", out),
        1,
        "never ask for it by a commercial message",
    )
    # As Excel in Turkey opens it.
    assert out.read_bytes().startswith(BOM_UTF8)
    (row,) = csv.DictReader(out.read_text("utf-8-sig").splitlines(), delimiter=";")
    assert "GÖNDERİM LİSTESİ DEĞİLDİR" in row["uyarı/notice"]
    assert row["alıcı/recipient"] == f"'{PHONE}"
    for way in ("next visit", "order", "call", "ViA"):
        assert way in row["yeni onay için/ways to a new one"]
    assert out.stat().st_mode & 0o777 == 0o600
    assert izin("customers", "void-consents", company, "--out", out).exit_code == 3
    assert izin("customers", "void-consents", company, "--brand=7").exit_code == 3
    ended(izin("import", out), 3, "unknown column")


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ("colour=red", 2),
        ("signature=both", 2),
        ("trade-mark=2019-1", 2),
        (f"undertaking:{BRAND}=1", 2),
        ("undertaking:abc=1", 2),
        ("trade-mark:=2019-1", 2),
        ("signatory", 2),
        ("undertaking=dün", 2),
        ("signatory=Ada 10000000146", 3),
    ],
)
def test_item_that_is_none_is_refused(izin: Izin, item: str, code: int) -> None:
    """A wrong name or form is wrong usage; the number of a natural person is never stored."""
    shown = izin("customers", "checklist", "acme", item)
    assert (shown.exit_code, "10000000146" in shown.stderr) == (code, False)
