"""Publishing and importing from the command line, with files as people have them.

An import that is killed, and repeated: nothing is lost, and nothing is there twice.
A first loading: what-if, import, application pack, what became void.
"""

import csv
import json
import os
import subprocess
import sys
from codecs import BOM_UTF8
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from izin.consent import TURKEY
from izin.kafka.bounded_reader import TopicRecord, read_all
from izin.producers.files.importer import CHECKPOINT_ROWS, journal_of
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import positions_of
from tests.integration.cli.conftest import Izin, ended, execute, put_brand
from tests.integration.cli.test_explain import REGISTER, store_history
from tests.integration.sinks.sink_harness import set_environment
from tests.support.builders import BRAND, PHONE, a_key
from tests.support.published import an_opt_out, produce
from tests.support.waiting import until

pytestmark = pytest.mark.broker

HEADER = "telefon;kanal;durum;kaynak;tarih;marka"
GIVEN_AT = (datetime.now(UTC) - timedelta(hours=3)).astimezone(TURKEY)
GOOD = f"0555 000 00 02;SMS;ONAY;HS_WEB;{GIVEN_AT:%d.%m.%Y %H:%M:%S};100001"
BAD_PHONE = f"0555 12;SMS;ONAY;HS_WEB;{GIVEN_AT:%d.%m.%Y %H:%M:%S};100001"
DAY_ONLY = f"0555 000 00 03;SMS;ONAY;HS_WEB;{GIVEN_AT - timedelta(days=1):%d.%m.%Y};100001"
UNDATED_OPT_OUT = "0555 000 00 04;SMS;HAYIR;HS_WEB;geçen hafta;100001"


def a_file(folder: Path, *rows: str, header: str = HEADER) -> Path:
    """Write a CRM export."""
    path = folder / "export.csv"
    path.write_text("\r\n".join((header, *rows)) + "\r\n", "utf-8")
    return path


def rows_in(report: str | Path) -> list[str]:
    """Return the numbers of the rows in a report."""
    with Path(report).open(encoding="utf-8-sig", newline="") as stream:
        return [row["izin: satır/row"] for row in csv.DictReader(stream, delimiter=";")]


def lanes(settings: KafkaSettings) -> list[TopicRecord]:
    """Return every event on both lanes."""
    topics = settings.topics
    return [
        one for lane in (topics.events, topics.express) for one in read_all(settings, Codec(), lane)
    ]


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        (("--map", "renk"), "write COLUMN=field"),
        (("--set", "marka"), "write field=value"),
        (("--time-of-day", "noon"), "write HH:MM"),
        (("--excel-epoch", "1970"), "1900"),
    ],
)
def test_import_with_a_wrong_option_names_its_form(
    izin: Izin, brand: int, tmp_path: Path, options: tuple[str, str], printed: str
) -> None:
    """Exit code 2, and how the option is written."""
    ended(izin("import", a_file(tmp_path, GOOD), *options), 2, printed)


def test_import_with_bad_rows_reports_them(
    izin: Izin, brand: int, topics: KafkaSettings, tmp_path: Path
) -> None:
    """A dry run publishes nothing and reports the same; the import publishes valid rows, and every
    opt-out; a second one has the same ids.
    """
    path = a_file(tmp_path, GOOD, BAD_PHONE, DAY_ONLY, UNDATED_OPT_OUT)
    for more, published in (("--dry-run", 0), ("--again", 2), ("--again", 4)):
        report = json.loads(izin("import", path, more, "--output", "json").stdout)
        counts = [report[name] for name in ("rows", "published", "refused", "not_registrable")]
        assert counts == [4, 2, 2, 1]
        assert len(lanes(topics)) == published
    assert rows_in(report["report"]) == ["3", "4", "5"]
    assert len({one.value["event_id"] for one in lanes(topics)}) == 2


def test_import_that_refuses_opt_outs_says_so_first(izin: Izin, brand: int, tmp_path: Path) -> None:
    """Above the table, in the JSON, at the head of the report, and by exit code 5."""
    lost = "0555 12;SMS;H;HS_WEB;2.03.2026 9:05;100001"
    path = a_file(tmp_path, GOOD, BAD_PHONE, GOOD.replace("ONAY", "?"), lost)
    shown = ended(izin("import", path), 5)
    assert shown.stdout.startswith("1 opt-outs (RET) were refused, and 1 rows")
    assert "\x1b" not in shown.stdout
    shown = ended(izin("import", path, "--output", "json"), 5)
    counts = json.loads(shown.stdout)
    assert list(counts)[:2] == ["refused_opt_outs", "refused_unclear"]
    assert [counts[one] for one in ("refused_opt_outs", "refused_unclear", "refused")] == [1, 1, 3]
    assert rows_in(counts["report"]) == ["5", "4", "3"]
    assert "nothing was published now" in " ".join(shown.stderr.split())
    assert izin("import", path, "--dry-run").exit_code == 5


def test_import_with_time_of_day_reads_bare_dates(
    izin: Izin, brand: int, topics: KafkaSettings, tmp_path: Path
) -> None:
    """The time of bare dates is given once for all rows, in Turkish time."""
    assert izin("import", a_file(tmp_path, DAY_ONLY), "--time-of-day", "09:30").exit_code == 0
    (one,) = lanes(topics)
    said = one.value["consent_date"].astimezone(TURKEY)
    assert (said.hour, said.minute) == (9, 30)


def test_publish_prints_where_the_event_is(izin: Izin, brand: int, topics: KafkaSettings) -> None:
    """An opt-out in any notation takes the express lane, and its id is printed."""
    words = ("--type=MESAJ", "--status=RET", "--source=HS_WEB", "--recipient=0 (555) 000 00 01")
    shown = ended(izin("publish", f"--brand={brand}", *words, "--output", "json"), 0)
    (printed,) = json.loads(shown.stdout)
    (one,) = lanes(topics)
    assert printed["topic"] == topics.topics.express.name
    assert printed["event_id"] == one.value["event_id"]
    at = printed["topic"], printed["partition"], printed["offset"]
    assert [*positions_of(printed["token"])] == [at]
    assert one.key == "100001/MESAJ/BIREYSEL/+905550000001"


def test_publish_again_with_reference_is_the_same_event(
    izin: Izin, brand: int, topics: KafkaSettings
) -> None:
    """Published twice it is one event; without a date the repetition would be a later one."""
    words = ("--type=MESAJ", "--status=ONAY", "--source=HS_WEB", "--recipient=0555 000 00 01")
    dated = f"--date={GIVEN_AT:%d.%m.%Y %H:%M:%S}"
    ended(
        izin("publish", f"--brand={brand}", *words, "--reference=r1"),
        2,
        "--reference",
        "--date '20",
    )
    assert lanes(topics) == []
    for _ in range(2):
        assert izin("publish", f"--brand={brand}", *words, "--reference=r1", dated).exit_code == 0
    ids = [(one.value["event_id"], one.value["consent_date"]) for one in lanes(topics)]
    assert len(ids) == 2 * len(set(ids))


@pytest.mark.parametrize(
    ("status", "changed", "code", "option"),
    [
        ("RET", "--source=IYS_WEB", "H119", "--source: "),
        ("RET", "--date=2099-01-01 10:00:00", "H162", "--date: "),
        ("ONAY", "--date=2024-01-02 10:00:00", "IZIN-TERM-ENDED", "--date: "),
    ],
)
def test_publish_warns_about_what_iys_would_refuse(  # noqa: PLR0917  # cases
    izin: Izin,
    brand: int,
    topics: KafkaSettings,
    status: str,
    changed: str,
    code: str,
    option: str,
) -> None:
    """It is published all the same, with a warning, as the intake answers."""
    words = [
        f"--brand={brand}",
        "--type=MESAJ",
        f"--status={status}",
        "--recipient=0555 000 00 01",
        *(["--source=HS_WEB"] if "--source" not in changed else []),
        changed,
    ]
    ended(izin("publish", *words), 0, code, option)
    (printed,) = json.loads(izin("publish", *words, "--output", "json").stdout)
    assert [one["code"] for one in printed["violations"]] == [code]
    assert len(lanes(topics)) == 2


@pytest.mark.parametrize(
    ("changed", "printed"),
    [
        ("--recipient=0555 12", "--recipient: not a phone number"),
        ("--brand=999", "izin brands add 999"),
        ("--status=MAYBE", "--status: "),
        ("--date=03/04/2026 10:00", "--date: day and month could be swapped"),
    ],
)
def test_publish_unusable_input_names_the_option(
    izin: Izin, brand: int, topics: KafkaSettings, changed: str, printed: str
) -> None:
    """Exit code 3, the option with the fault and its remedy; nothing is published."""
    words = {
        "--brand": f"--brand={brand}",
        "--type": "--type=MESAJ",
        "--status": "--status=ONAY",
        "--source": "--source=HS_WEB",
        "--recipient": "--recipient=0555 000 00 01",
    }
    words[changed.partition("=")[0]] = changed
    ended(izin("publish", *words.values()), 3, printed)
    assert lanes(topics) == []


def test_import_lists_reversals_until_they_are_given_back(
    izin: Izin, brand: int, topics: KafkaSettings, tmp_path: Path
) -> None:
    """As ``desired-consents`` has them: the others are published, and those with the name of the
    person who gives them back.
    """
    opt_out(topics, "+905550000002", GIVEN_AT - timedelta(hours=1))
    path = a_file(tmp_path, GOOD, GOOD.replace("00 02", "00 06"))
    counts = json.loads(ended(izin("import", path, "--output", "json"), 1).stdout)
    assert (counts["published"], counts["refused_reversals"]) == (1, 1)
    (one,) = lanes(topics)
    assert one.key.endswith("+905550000006")
    given = counts["reversals_path"]
    shown = ended(izin("import", path, "--reversals", given, "--by", "ada", "--output", "json"), 0)
    counts = json.loads(shown.stdout)
    assert (counts["reversals"], counts["refused_reversals"]) == (1, 0)
    (back,) = [one.value for one in lanes(topics) if one.key.endswith("+905550000002")]
    assert (back["actor"], list(back["evidence"])) == ("ada", ["reversal-of"])


def opt_out(settings: KafkaSettings, recipient: str, at: datetime) -> None:
    """Have an opt-out stand, as the order stage does."""
    key = a_key(recipient=recipient)
    at = at.astimezone(UTC).replace(microsecond=0)
    value = Codec().encode("Consent", an_opt_out(key, at))
    produce(settings, settings.topics.desired_consents.name, value, key=key.encode())


ROWS, BAD = CHECKPOINT_ROWS + 5000, 50
OPT_OUTS, OTHERS = "opt_out_line", "line"


def an_export(path: Path) -> None:
    """Write a file with a refused row now and then."""
    date = datetime.now(UTC) - timedelta(hours=3)
    lines = ["telefon;kanal;izin;kaynak;tarih;marka"]
    for number in range(ROWS):
        phone = f"0555 {number:07}" if number % (ROWS // BAD) else "0555"
        lines.append(f"{phone};SMS;{number % 2};HS_WEB;{date:%Y-%m-%dT%H:%M:%SZ};100001")
    path.write_text("\n".join(lines), "utf-8")


@pytest.mark.parametrize("what", [OPT_OUTS, OTHERS])
def test_import_killed_and_repeated_loses_and_doubles_nothing(
    izin: Izin, brand: int, topics: KafkaSettings, tmp_path: Path, what: str
) -> None:
    """``kill -9`` of a process that publishes: the next one goes on where the journal says; each
    event keeps its id and its receipt, and the report is that of an import that lived.
    """
    path, report = tmp_path / "crm.csv", tmp_path / "report.csv"
    an_export(path)
    words = ["import", str(path), "--report", str(report), "--output", "json"]
    command = [sys.executable, "-m", "izin.cli", *words]
    journal = journal_of(report)
    with subprocess.Popen(command, env=os.environ.copy(), stderr=subprocess.DEVNULL) as process:
        # It has something of the file: of the opt-outs, which go first, or of the others.
        until(lambda: journal.exists() and json.loads(journal.read_bytes())[what], within=60)
        process.kill()
    assert process.returncode == -9
    assert not report.exists()
    counts = json.loads(ended(izin(*words), 5).stdout)
    assert CHECKPOINT_ROWS < counts["resumed_after"] <= ROWS
    assert (counts["rows"], counts["published"], counts["refused"]) == (ROWS, ROWS - BAD, BAD)
    events = [one.value for one in lanes(topics)]
    ids = Counter(one["event_id"] for one in events)
    assert len(ids) == ROWS - BAD
    assert len(events) - len(ids) <= CHECKPOINT_ROWS
    assert len({one["received_at"] for one in events}) == 1
    rows = range(2, ROWS + 2)
    bad = rows[:: ROWS // BAD]
    assert {one["row"] for one in events} == set(rows) - set(bad)
    assert rows_in(report) == [str(number) for number in bad]
    assert {one.name for one in tmp_path.iterdir()} == {*(path.name, report.name, journal.name)}


BOOK_HEADER = "telefon;e-posta;kanal;durum;kaynak;tarih;marka"
NOW = datetime.now(UTC)
LAWFUL, VOID = NOW - timedelta(hours=3), datetime(2023, 3, 6, 9, tzinfo=UTC)


def a_row(phone: str, given_at: datetime, *, status: str = "ONAY", brand: int = BRAND) -> str:
    """Return a row of a text message's consent."""
    at = f"{given_at.astimezone(TURKEY):%d.%m.%Y %H:%M:%S}"
    return f"{phone};;MESAJ;{status};HS_WEB;{at};{brand}"


def a_book(folder: Path, *rows: str) -> Path:
    """Write an address book."""
    path = folder / "rehber.csv"
    path.write_text("\r\n".join((BOOK_HEADER, *rows)) + "\r\n", "utf-8")
    return path


@pytest.fixture
def company(izin: Izin, brand: int, ledger: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the id of a customer with a brand, of which a consent is known."""
    set_environment(monkeypatch, {"IYS_USERNAME": "fake", "IYS_PASSWORD": "fake"})
    store_history()
    assert izin(*REGISTER).exit_code == 0
    return "acme"


@pytest.mark.broker
@pytest.mark.database
def test_onboard_says_what_it_would_do_and_publishes_what_is_lawful(
    izin: Izin, company: str, topics: KafkaSettings, tmp_path: Path
) -> None:
    """Without --execute nothing is published, nor where a row is of another customer's brand; what
    is void is in the report, and never is.
    """
    path = a_book(
        tmp_path,
        a_row("0555 000 00 02", LAWFUL),
        a_row("0555 000 00 02", LAWFUL - timedelta(hours=1)),
        a_row("0555 000 00 03", VOID),
        a_row("0555 000 00 04", VOID, status="RET"),
        a_row(PHONE, LAWFUL),
    )
    assert izin("customers", "add", "beta", "--name=Beta").exit_code == 0
    ended(izin("customers", "onboard", "beta", path, "--execute"), 3, str(BRAND))
    for words, code in ((["nobody"], 3), ([company, "--brand=7"], 3), ([company, "--map=x"], 2)):
        assert izin("customers", "onboard", *words, path).exit_code == code, words
    said = ("nothing was published", "at İYS's limit: 2 submissions", "known of 1 keys")
    shown = ended(izin("customers", "onboard", company, path), 1, *said)
    assert lanes(topics) == []
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
    published = {(one.value["recipient"], one.value["status"]) for one in lanes(topics)}
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
    path = a_book(
        tmp_path,
        a_row("0555 000 00 02", LAWFUL),
        a_row("0555 000 00 03", VOID),
        f";ada@example.com;E-POSTA;ONAY;HS_WEB;01.02.2023 10:00:00;{BRAND}",
    )
    shown = izin("customers", "pack", company, path, "--out", folder, "--output", "json")
    counted = json.loads(shown.stdout)
    assert counted["brands"] == [
        {"brand_code": BRAND, "phones": 2, "emails": 1, "addresses": 3},
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
    path = a_book(tmp_path, a_row("0555 000 00 02", LAWFUL, brand=other), "12;;MESAJ;RET;;;")
    shown = izin("customers", "pack", company, path, "--out", folder)
    for said in (
        f"brand {BRAND} is in no file",
        "provider 100001: 2 addresses",
        "rehber.csv: 1 rows cannot be read, and are not counted",
    ):
        assert said in shown.stderr
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
    execute(ledger, "UPDATE consents SET state = 'expired', registered = 'NONE'")
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
    assert row["neden/why"] == "süresi geçti/expired"
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
    assert "10000000146" not in ended(izin("customers", "checklist", "acme", item), code).stderr
