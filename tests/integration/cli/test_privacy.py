"""``izin privacy``: what it says before it erases, and what it gives to a person."""

import json
import stat
from pathlib import Path

import pytest

from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.integration.cli.conftest import Izin, ended, execute
from tests.integration.cli.test_acts import OPT_OUT, OPTED_OUT
from tests.integration.cli.test_explain import store_history
from tests.support.builders import PHONE

pytestmark = [pytest.mark.broker, pytest.mark.database]

ERASE = ("privacy", "erase", "--all-customers")


@pytest.fixture
def known(topics: KafkaSettings, ledger: str) -> str:
    """Return a ledger in which one recipient waits for a person, and another has opted out."""
    store_history()
    execute(ledger, OPT_OUT, OPTED_OUT, OPTED_OUT)
    return ledger


def erasures(ledger: str) -> int:
    """Return how many erasures were requested."""
    return len(execute(ledger, "SELECT FROM erasures"))


def test_erase_says_first_what_it_would_do(izin: Izin, known: str) -> None:
    """And does it with --execute: an event for the order stage, by way of the outbox."""
    ended(
        izin("privacy", "erase", "0555 000 00 77", "--all-customers"),
        0,
        "1 keys would be erased; add --execute to do it",
    )
    assert erasures(known) == 0
    done = ended(izin(*ERASE, OPTED_OUT, "--execute", "--by=ada", "--output=json"), 0)
    (found,) = json.loads(done.stdout)
    assert (found["erasable"], found["customer"], found["why"]) == (True, "acme", "")
    ((topic, value),) = execute(known, "SELECT topic, value FROM outbox ORDER BY id DESC LIMIT 1")
    assert topic.endswith("consent-events-express")
    assert Codec().decode("ConsentEvent", value)["status"] == "ERASURE"
    done = izin("privacy", "list", "--output=json")
    (going_on,) = json.loads(done.stdout)
    assert (going_on["id"], going_on["acknowledged_at"]) == (1, None)
    assert OPTED_OUT not in done.stdout + done.stderr
    assert "1 requested" in done.stderr


def test_erasure_is_shown_with_who_ordered_it(izin: Izin, known: str) -> None:
    """By its number, as it was printed; there is nothing left to erase then."""
    ended(
        izin(*ERASE, OPTED_OUT, "--execute", "--by=ada"), 0, "1 keys are being erased (erasure 1)"
    )
    shown = " ".join(izin("explain", OPTED_OUT).stdout.split())
    assert "request erasure (by ada); erasure: 1" in shown
    execute(known, "UPDATE erasures SET acknowledged_at = now() RETURNING id")
    ended(izin(*ERASE, OPTED_OUT), 0, "nothing is erased")


def test_erase_says_why_not(izin: Izin, known: str) -> None:
    """Exit code 1 where a key cannot be erased, and until when its history is kept."""
    (found,) = json.loads(ended(izin(*ERASE, PHONE, "--execute", "--output=json"), 1).stdout)
    assert "publish the opt-out first" in found["why"]
    assert (found["history"], found["article"]) == (2, "6563 m.11/3")
    assert found["kept_until"]
    assert erasures(known) == 0
    assert "the consent stands" in izin(*ERASE, PHONE).stdout.replace("\n", " ")


def test_erase_of_many_prints_only_what_stays(izin: Izin, known: str, tmp_path: Path) -> None:
    """A list has one recipient in each line; a bad one is named, and nothing is erased then."""
    file = tmp_path / "requests.txt"
    file.write_text(f"{OPTED_OUT}\nnobody\n", "utf-8")
    ended(izin(*ERASE, "--file", file, "--execute"), 3, "line 2")
    assert erasures(known) == 0
    file.write_text(f"{OPTED_OUT}\n\n{PHONE}\n", "utf-8")
    order = izin(*ERASE, "--file", file, "--execute", "--by=ada")
    shown = ended(order, 1, "1 keys cannot be erased now").stdout
    assert (OPTED_OUT in shown, PHONE in shown) == (False, True)
    assert erasures(known) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (ERASE[1:], 2, "give a recipient"),
        ((*ERASE[1:], PHONE, "--file=x"), 2, "give a recipient"),
        ((*ERASE[1:], "nobody"), 3, "H1"),
        ((*ERASE[1:], "--file=nowhere.txt"), 3, "cannot be read"),
        ((*ERASE[1:], "+905550000099"), 3, "nothing is known"),
        (("erase", PHONE, "--customer=other"), 3, "nothing is known"),
        (("export", "+905550000099"), 3, "nothing is known"),
    ],
)
@pytest.mark.usefixtures("known")
def test_wrong_input_is_refused(izin: Izin, words: tuple[str, ...], code: int, said: str) -> None:
    """With the place and what to do."""
    ended(izin("privacy", *words), code, said)


@pytest.mark.usefixtures("known")
def test_export_is_for_its_owner_only(izin: Izin, tmp_path: Path) -> None:
    """A file that exists is not overwritten."""
    file = tmp_path / "answer.json"
    assert izin("privacy", "export", PHONE, "--out", file).exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    known = json.loads(file.read_text("utf-8"))
    assert known["recipient"] == PHONE
    assert {fact["kind"] for fact in known["keys"][0]["history"]} == {"observation", "decision"}
    ended(izin("privacy", "export", PHONE, "--out", file), 3, "name a new file")
    assert json.loads(izin("privacy", "export", PHONE).stdout) == known


def test_erasure_says_whose_it_is(izin: Izin, known: str) -> None:
    """Nobody erases what is everybody's by leaving an option out."""
    for whose in ((), ("--customer=acme", "--all-customers")):
        ended(izin("privacy", "erase", OPTED_OUT, *whose, "--execute"), 2, "--all-customers")
    assert erasures(known) == 0
    assert izin("privacy", "erase", OPTED_OUT, "--customer=acme", "--execute").exit_code == 0
    assert erasures(known) == 1


def test_opt_out_of_a_merchant_is_erased(izin: Izin, known: str) -> None:
    """As everybody's: the gate has it as a suppression."""
    execute(
        known,
        "UPDATE consents SET recipient_type = 'TACIR', key = replace(key, 'BIREYSEL', 'TACIR')"
        " WHERE recipient = %s",
        OPTED_OUT,
    )
    assert izin(*ERASE, OPTED_OUT, "--execute").exit_code == 0
    assert erasures(known) == 1
