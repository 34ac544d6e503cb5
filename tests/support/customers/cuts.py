"""Every command and HTTP route: how it is run for one of forty customers, or why it needs not.

Commands that show or write what is there come first, in their order, for some need what one before
wrote; then those that change something by a person's order.
"""

import gzip
import re
import shlex
import zipfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from izin.api import process as api_process
from izin.gate import server as gate_server
from izin.local import free_port
from izin.producers.intake import process as intake_process
from izin.runtime.settings import ApiSettings, GateSettings, IntakeSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.schemas.may_send_api import PATH
from tests.integration.feeds import test_feeds as feeds
from tests.integration.sinks.inbound.test_push import Worker
from tests.integration.sinks.sink_harness import Izin
from tests.support.acts import commands
from tests.support.builders import BRAND, PHONE
from tests.support.customers.installation import FOREIGN_BRAND, FOREIGN_RECIPIENT, Installation
from tests.support.servers.http import served


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Lines of words behind a command's name, each run among forty customers; ``{…}`` names what is
    ours, ``{their_…}`` what is another's, ``{new}`` a path where nothing is.
    """

    lines: tuple[str, ...]
    shows: str = ""
    """What the output or a file has of ours, so that a silent command does not pass."""
    refused: tuple[str, ...] = ()
    """Lines that ask for ``acme``'s and name another's: refused, and nothing of it is shown."""
    selects_none: tuple[str, ...] = ()
    """Lines that select by ``acme`` and by another's brand, which nothing has together."""
    counts: bool = True
    """Whether a number above the hundred is a count of everybody's. It is none of an offset, of a
    size, or of what is of the installation and names nobody.
    """
    whole: str = ""
    """Why it shows everybody's, if it does."""


def cut(*lines: str, **more: Any) -> Cut:  # noqa: ANN401  # as Cut has them
    """Return the cut of a command that is run by ``lines``."""
    return Cut(lines=lines, **more)


_OURS = "--customer=acme"
_THEIRS = "--customer=acme --brand={their_brand}"
_ASKED = "--type=MESAJ --campaign=spring"


READING: Mapping[str, Cut] = {
    "brands list": cut(_OURS, shows="100002"),
    "brands parked": cut(_OURS, shows="100002"),
    "brands retailers": cut("{brand}", shows="{parked}"),
    "brands show": cut("{brand}", shows="acme"),
    "brands suspensions": cut(_OURS, shows="100002"),
    "complaints list": cut(_OURS, shows="100002", refused=(_THEIRS,)),
    "complaints show": cut("{complaint}", shows="acme"),
    "customers granted-brands": cut(_OURS, shows="100002"),
    "customers list": cut(_OURS, shows="100002"),
    "customers show": cut("acme", shows="100002"),
    "customers void-consents": cut("acme --out={new}", refused=("acme --brand={their_brand}",)),
    "customers pack": cut(
        "acme --out={new_folder}",
        "acme {book} --out={new_folder} --output=json",
        shows="100002",
        refused=("acme {mixed} --out={new_folder}",),
    ),
    "customers sync": cut(_OURS, shows="EPOSTA"),
    "dead-letters list": cut(_OURS, shows="0/3", refused=(_THEIRS,), counts=False),
    "dead-letters show": cut("0/1 --unmasked", shows="{parked}", counts=False),
    "deadlines breaches": cut(_OURS, shows="100002"),
    "deadlines opt-outs": cut("{brand} --out={new}", shows="{opted_out}"),
    "deadlines show": cut(_OURS, shows="100002"),
    "evidence anchors": cut("{new}"),
    "explain": cut("{shared} " + _OURS, shows="H100002", refused=("{their_key} " + _OURS,)),
    "iys counts": cut(_OURS, shows="100002", refused=(_THEIRS,)),
    "iys daily list": cut(_OURS, shows="100002", refused=(_THEIRS,)),
    "iys daily show": cut("--brand={brand} --day={day} --out={new}", shows="t100001"),
    "iys daily verify": cut("--brand={brand} --day={day}", shows="time"),
    "held-back list": cut(_OURS, shows="100002"),
    "iys push status": cut("{brand}", shows="EPOSTA"),
    "iys retailers list": cut("{brand}", shows=""),
    "iys sweep status": cut(_OURS, shows="100002", refused=(_THEIRS,)),
    "keys list": cut(_OURS, shows="key-acme"),
    "may-send": cut(
        "{shared} --brand={brand} --type=MESAJ",
        shows="registered",
        refused=("{their_recipient} --brand={their_brand} --type=MESAJ",),
    ),
    "privacy export": cut(
        "{shared} --customer=acme --out={new}",
        shows="H100002",
        refused=("{their_recipient} --customer=acme",),
    ),
    "privacy list": cut(_OURS, shows="acme"),
    "receipts show": cut("{receipt}", shows="of acme"),
    "reconcile": cut(
        "--brand={brand} --ask --out={new} --plan={new} --unmasked --output=json",
        shows="{opted_out}",
    ),
    "replay rebuild": cut(
        "desired-consents --brand={brand} --plan={plan} --processes=1 --output=json",
        "ledger --brand={brand} --plan={new} --processes=1 --unmasked --output=json",
        shows="keys",
    ),
    "replay show": cut("{plan}", shows="keys"),
    "replay what-if": cut(
        "--customer=acme --out={new} --closed-day=2026-11-20 --unmasked",
        shows="2026-11-20",
        refused=(_THEIRS + " --out={new} --closed-day=2026-11-20",),
    ),
    "report acts": cut("--since=2020-01-01 " + _OURS, shows="brand", counts=False),
    "report confirmations": cut(_OURS, refused=(_THEIRS,)),
    "report latency": cut(_OURS, refused=(_THEIRS,)),
    "report month": cut("--customer=acme --month=2026-11 --output=json", shows="acme"),
    "report week": cut(_OURS, shows="H100002"),
    "retention holds": cut(_OURS, shows="acme"),
    "scrub": cut(
        "{addresses} --brand={brand} " + _ASKED + " --out={new}.csv",
        shows="registered",
        refused=("{addresses} --brand={their_brand} " + _ASKED + " --out={new}.csv",),
    ),
    "sequences list": cut(_OURS, shows="acme"),
    "subscribers list": cut(_OURS, shows="crm-acme"),
    "worklist": cut(_OURS + " --unmasked", shows="{parked}", refused=(_THEIRS,)),
    "subscribers show": cut("crm-acme", shows="crm-acme"),
    "subscribers compare": cut(
        "{addresses} --brand={brand} --type=MESAJ --for-tool={new} --for-import={new}"
        " --source=HS_MESAJ",
    ),
    "doctor": cut(
        "--no-running --output=json", whole="it is for whoever operates the installation"
    ),
    "iys limits": cut(""),
    "ledger verify": cut("--output=json", counts=False),
    "retention list": cut(""),
}
"""A line is run with ``--output=json`` too where the command has that, unless the line says it."""


ORDERING: Mapping[str, Cut] = {
    "via ask": cut(
        "{parked} --brand={brand} --type=MESAJ --way=SMS_OTP --form-id=1 --occasion=shop"
    ),
    "accounts save": cut("eve --role=reader --customer=acme", shows="acme"),
    "brands retry": cut("{brand}"),
    "iys retailers add": cut("{brand} {retailers}"),
    "iys retailers remove": cut("{brand} 10000001"),
    "customers add": cut("acme --name=Acme --kind=legal"),
    "customers change": cut("acme --vkn=1234567890"),
    "customers checklist": cut(
        "acme trade-mark:{brand}=2019-1", refused=("acme trade-mark:{their_brand}=2019-1",)
    ),
    "brands add": cut(
        "100003 --iys-code=100001 --customer=acme --name=Third",
        refused=(
            "{their_brand} --iys-code=900001 --customer=acme --name=Third",
            "{their_brand} --iys-code=900001 --customer=acme --name=Third --execute",
        ),
    ),
    "brands rights": cut("{brand} --type=MESAJ --type=EPOSTA --execute"),
    "brands suspend": cut(
        "--customer=acme --reason=audit",
        "{brand} --reason=audit --execute",
        shows="100001",
        refused=("{their_brand} --customer=acme --reason=audit --execute",),
    ),
    "brands resume": cut(
        "--customer=acme --execute",
        "{brand} --execute",
        refused=("{their_brand} --customer=acme --execute",),
    ),
    "brands requeue": cut(
        "{brand} --because=reconsent --recipient={parked} --plan={requeue}",
        "{brand} --plan={requeue} --execute",
        refused=("{brand} --because=reconsent --recipient={their_key} --plan={new}",),
    ),
    "complaints add": cut(
        "{parked} --brand={brand} --type=MESAJ --sent=2026-03-02T12:00 --sender=A --content=x",
        counts=False,
    ),
    "evidence write": cut(
        "{shared} --brand={brand} --reason=court --out={evidence}",
        "{parked} --brand={brand} --reason=court --out={parked_evidence}",
        shows="100001/MESAJ/BIREYSEL/",
    ),
    "evidence verify": cut("{evidence}", shows="verified"),
    "complaints attach": cut("{complaint} {parked_evidence}"),
    "complaints close": cut("{complaint} --outcome=unfounded"),
    "held-back limit": cut("acme --share=7 --minimum=9 --execute", shows="acme"),
    "held-back release": cut(
        "100002 '--origin=crm of acme' --reason=right",
        "100002 '--origin=crm of acme' --reason=right --execute",
        shows="crm of acme",
    ),
    "held-back withdraw": cut(
        "{brand} '--origin=crm of acme' --reason=wrong",
        "{brand} '--origin=crm of acme' --reason=wrong --execute",
        shows="crm of acme",
    ),
    "dead-letters acknowledge": cut(
        "0/0 --reason=seen --execute",
        "--customer=acme --reason=seen",
        shows="dead letters",
        refused=(
            "0/9 --customer=acme --reason=seen",
            "--customer=acme --brand={their_brand} --reason=seen --execute",
        ),
    ),
    "dead-letters redrive": cut(
        "0/1 --reason=repaired",
        "--customer=acme --reason=repaired --wait=PT0S --execute",
        refused=(
            "0/9 --customer=acme --reason=repaired",
            "--customer=acme --brand={their_brand} --reason=repaired --execute",
        ),
    ),
    "deadlines recount-terms": cut("--brand={brand} --execute", shows="100001"),
    "iys daily agree": cut("--brand={brand} --day={day} --execute", shows="100001"),
    "iys daily fetch": cut("--brand={brand} --day={day}"),
    "iys push unregister": cut("{brand} --type=MESAJ --url={push_url} --username=iys --execute"),
    "iys sweep start": cut("--brand={brand} --execute", shows="100001"),
    "iys sweep stop": cut("--brand={brand}", shows="100001"),
    "keys create": cut(
        "shop --scope=ask --customer=acme",
        shows="ask for acme",
        refused=("till --scope=ask --customer=acme --brand={their_brand}",),
    ),
    "keys rotate": cut("key-acme"),
    "keys revoke": cut("shop", "shop --execute"),
    "privacy erase": cut(
        "{shared} --customer=acme",
        "{shared} --customer=acme --execute",
        shows="100002",
        refused=(
            "{their_recipient} --customer=acme --execute",
            "{their_key} --customer=acme --execute",
        ),
    ),
    "publish": cut(
        "--brand={brand} --type=MESAJ --recipient={opted_out} --status=RET --source=HS_WEB",
        "--corrects=0/2 --status=RET",
        shows="consent-events",
    ),
    "import file": cut("{book}", shows="published"),
    "import changes": cut("{book} --customer=acme", shows="behind"),
    "customers onboard": cut(
        "acme {book} --ask --execute",
        shows="1 submissions",
        refused=("acme {mixed} --execute", "acme {book} --brand={their_brand}"),
    ),
    "retention hold": cut(
        "acme --reason=court",
        "acme --reason=court --recipient={shared}",
        refused=(
            "acme --reason=court --recipient={their_key}",
            "acme --reason=court --recipient={their_recipient}",
        ),
    ),
    "retention release": cut("{hold}"),
    "sequences close": cut(
        "--customer=acme --origin=crm --up-to=5", "--customer=acme --origin=crm --up-to=5 --execute"
    ),
    "subscribers add": cut(
        "till --customer=acme --url={hook}",
        refused=("shop --customer=acme --url={hook} --brand={their_brand}",),
    ),
    "subscribers test": cut("till", counts=False),
    "subscribers pause": cut("till"),
    "subscribers resume": cut("till"),
    "subscribers rotate-secret": cut("till"),
    "subscribers resend": cut(
        "till --since=2026-01-01", "till --since=2026-01-01 --execute", "till --recipient={shared}"
    ),
    "subscribers cancel-resend": cut("till"),
    "subscribers remove": cut("till", "till --execute", shows="till"),
    "replay run": cut("{plan} --execute", shows="keys"),
    "retention set": cut("{month} 2099-01-01"),
    "retention drop": cut("", "--execute"),
    "ledger bootstrap": cut("", "--execute", counts=False),
    "ledger archive": cut("{archive}", whole="the archive of a ledger is of all that it holds"),
    "ledger encrypt-secrets": cut("", "--execute", counts=False),
    "ledger restore": cut(refused=("{archive}",), counts=False),
    "ledger backup": cut(refused=("{new_folder} --programs={archive}",), counts=False),
    "ledger restore-check": cut(refused=("{archive}",), counts=False),
    "ledger republish": cut(refused=("",), counts=False),
    "customers offboard": cut(
        "acme --reason=ended --out={zip}",
        "acme --reason=ended --out={zip} --opt-outs={new}.csv --execute",
        shows="acme",
    ),
}


CUTS: Mapping[str, Cut] = {**READING, **ORDERING}

PROCESS = "runs a process, which prints its log; its routes are cut"
MACHINE = "puts up servers on this machine, and reads no ledger"
LAW = "checks the law on events that it makes up"
FILES = "reads files of its user, and a dead letter that they name"
ACCOUNTS = "of people who sign in to the console, and no data of a customer but its id"
ONE_REQUEST = "of a request that only who made it can name; shows no recipient"
WITHOUT_DATA: Mapping[str, str] = {
    "accounts disable": ACCOUNTS,
    "accounts link": ACCOUNTS,
    "accounts list": ACCOUNTS,
    "console": "runs a process; its pages are cut in tests/integration/web/test_matrix.py",
    "links make": "makes a link of what its user gives it; no data is read",
    "via code": ONE_REQUEST,
    "via show": ONE_REQUEST,
    "sources list": FILES,
    "sources show": FILES,
    "sources test": FILES,
    "download": MACHINE,
    "demo": "runs on data that it makes up, in servers of its own",
    "api": PROCESS,
    "feeds": PROCESS,
    "gate": PROCESS,
    "intake": PROCESS,
    "order": PROCESS,
    "outbox": PROCESS,
    "sink": PROCESS,
    "up": MACHINE,
    "verify": LAW,
    "webhooks": PROCESS,
}
"""Commands that print or write nothing of a customer: they are not run, and this is the whole list
of them.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request to one of the listeners that are open to customers and to İYS."""

    server: str
    path: str
    body: Any = None
    """JSON, which is posted; None: it is a GET."""
    status: int = 200
    shows: str = ""
    """What the response has, so that an empty one does not pass."""


_NEW = "+905551000009"
"""A recipient of whom nothing is known."""
SERVERS = ("gate", "feeds", "intake", "sink", "api")


def _everywhere(path: str, *, status: int = 200, shows: str = "") -> tuple[Ask, ...]:
    return tuple(Ask(server=one, path=path, status=status, shows=shows) for one in SERVERS)


def _may_send(brand: int, recipient: str, reason: str) -> Ask:
    question = {"brand_code": brand, "type": "MESAJ", "recipients": [recipient]}
    return Ask(server="gate", path=PATH, body=question, shows=f'"{reason}"')


def _consent(brand: int) -> Mapping[str, object]:
    return {
        "recipient": _NEW,
        "type": "MESAJ",
        "status": "RET",
        "source": "HS_WEB",
        "date_basis": "received",
        "brand_code": brand,
    }


def _posted(body: object, status: int, shows: str) -> Ask:
    return Ask(server="intake", path="/v1/consents", body=body, status=status, shows=shows)


def _of_recipient(path: str, recipient: str, status: int, shows: str, **more: object) -> Ask:
    body = {"recipient": recipient, **more}
    return Ask(server="api", path=path, body=body, status=status, shows=shows)


def _changed(recipient: str, status: int, shows: str, **more: object) -> Ask:
    given = {"new_recipient": _NEW, **more}
    return _of_recipient("/v1/recipients/change", recipient, status, shows, **given)


_CONFIRMATION = "/v1/consents/confirmation"
_CONFIRMED = {"event_id": "none", "confirmed_at": "2026-03-02 12:00:00"}
_ASKED_FOR = {
    "brand_code": BRAND,
    "types": ["MESAJ"],
    "way": "SMS_OTP",
    "form_id": "1",
    "occasion": "form",
}
_OK = '{"status":"ok"}'
ROUTES: Mapping[str, tuple[Ask, ...]] = {
    "/health/live": _everywhere("/health/live", shows=_OK),
    "/health/ready": _everywhere("/health/ready", shows=_OK),
    # Figures are the operators': the listeners of customers do not serve them.
    "/metrics": _everywhere("/metrics", status=404),
    # İYS calls it; an API key is none of its credentials.
    "/iys/push": (
        Ask(server="sink", path="/iys/push", body={"list": []}, status=401, shows="HTTP Basic"),
    ),
    "PATH": (
        _may_send(BRAND, PHONE, "registered"),
        _may_send(FOREIGN_BRAND, PHONE, "unknown"),
        _may_send(FOREIGN_BRAND, FOREIGN_RECIPIENT, "unknown"),
    ),
    "feed.path": tuple(
        Ask(server="feeds", path=f"/v1/{feed}", shows='"customer_id":"acme"')
        for feed in ("opt-outs", "permissions", "outcomes")
    ),
    "/v1/consents": (
        _posted(_consent(BRAND), 202, "event"),
        _posted(_consent(FOREIGN_BRAND), 403, "IZIN-KEY-BRAND"),
        _posted([_consent(BRAND), _consent(FOREIGN_BRAND)], 403, "/1/brand_code"),
    ),
    # No API key counts there: a mapping names its brands, and a link its brand.
    "/v1/sources/{source}": (
        Ask(server="intake", path="/v1/sources/a", body={}, status=404, shows="No such source"),
    ),
    "/v1/forms/{form}": (
        Ask(server="intake", path="/v1/forms/a", body={}, status=404, shows="No such source"),
    ),
    "OPT_OUT_ROUTE": (
        Ask(server="intake", path="/v1/opt-out/a", body={}, status=404, shows="No such endpoint"),
    ),
    "CONFIRM_ROUTE": (
        Ask(server="intake", path="/v1/confirm/a", body={}, status=404, shows="No such endpoint"),
    ),
    # An event is found by a token, which Kafka makes: tests/integration/api has a foreign one.
    "EVENT_PATH": (Ask(server="api", path="/v1/events/event-1", status=400, shows="token"),),
    "CONFIRMATION_PATH": (
        _of_recipient(_CONFIRMATION, PHONE, 404, "No such consent", **_CONFIRMED),
        _of_recipient(_CONFIRMATION, FOREIGN_RECIPIENT, 404, "No such consent", **_CONFIRMED),
    ),
    "LOOKUP_PATH": (
        _of_recipient("/v1/consents/lookup", PHONE, 200, '"customer_id":"acme"'),
        _of_recipient("/v1/consents/lookup", FOREIGN_RECIPIENT, 200, '"consents":[]'),
        _of_recipient("/v1/consents/lookup", PHONE, 403, "within", brand_code=FOREIGN_BRAND),
    ),
    "VIA_PATH": (
        _of_recipient("/v1/via", f"+90555{BRAND}2", 409, "Person opted out", **_ASKED_FOR),
        _of_recipient(
            "/v1/via", PHONE, 403, "within", **_ASKED_FOR | {"brand_code": FOREIGN_BRAND}
        ),
    ),
    # A request is found by its name, which the ledger makes: tests/integration/api has another's.
    "VIA_REQUEST_PATH": (Ask(server="api", path="/v1/via/a", status=404, shows="No such request"),),
    "VIA_CODE_PATH": (
        Ask(server="api", path="/v1/via/a/code", body={}, status=404, shows="No such request"),
    ),
    "CHANGE_PATH": (
        _changed(FOREIGN_RECIPIENT, 202, '"consents":[]'),
        _changed(PHONE, 403, "within", brand_code=FOREIGN_BRAND),
    ),
}
"""By the path as the code writes it, what each is asked with the key of ``acme``."""


_ROUTE = re.compile(r"\bRoute\(\s*(?:\"([^\"]+)\"|([\w.]+))")


def routes(root: Path) -> set[str]:
    """Return the path of each route in the source, as it is written there. No API key counts at
    the console: tests/integration/web/test_matrix.py asks its screens.
    """
    found: set[str] = set()
    for path in (one for one in (root / "izin").rglob("*.py") if "web" not in one.parts):
        for text, name in _ROUTE.findall(path.read_text(encoding="utf-8")):
            found.add(text or name)
    return found


COMMANDS = dict(commands())
_SHOWN = 6
_OUTPUT = "the output"
_JSON = "--output=json"
FOREIGN = re.compile(
    r"foreign|yabanc|(?<![\w.])9[05]00\d\d(?!\w)|\+90559\d{7}|(?<!\w)0559 ?\d{3}|\*{3}(77|88)",
    re.IGNORECASE,
)
"""Ids, names, brand codes and recipients of the others, masked ones too."""
MANY = re.compile(r"(?<![\w.:,+/*%-])(9[5-9]|[1-9]\d\d|1[0-8]\d\d)(?![\w.:/-]|,\d| ?%)")
"""A count over all brands: each of the others' 98 has one of everything, and ours a handful."""
_GZIP = b"\x1f\x8b"
PUSH_PASSWORD = "our-fake-password"
OPERATIONS = "operations of "
"""Begins the names of the listeners of operators."""


def traces(text: str, given: Iterable[str] = (), *, counts: bool = True) -> list[str]:
    """Return what ``text`` has of others, and the counts that have others in them, except for what
    was ``given`` on the command line.
    """
    for one in sorted(given, key=len, reverse=True):
        text = text.replace(one, "")
    found = [one.group() for one in FOREIGN.finditer(text)]
    return found + ([one.group() for one in MANY.finditer(text)] if counts else [])


def files_in(folder: Path) -> Mapping[Path, tuple[int, int]]:
    """Return every file in ``folder``, with what changes where it is written."""
    found = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in found}


def contents(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Yield the content of files, and of what is packed in them, each with its name."""
    for path in sorted(paths):
        yield from _unpacked(str(path), path.read_bytes())


def _unpacked(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    if zipfile.is_zipfile(BytesIO(content)):
        with zipfile.ZipFile(BytesIO(content)) as packed:
            for one in packed.namelist():
                yield from _unpacked(f"{name}/{one}", packed.read(one))
        return
    if content.startswith(_GZIP):
        content = gzip.decompress(content)
    yield name, content.decode("utf-8", "replace")


@dataclass(kw_only=True)
class CutRunner:
    """Runs commands in an installation, whose files are in ``folder``."""

    izin: Izin
    places: Mapping[str, Any]
    folder: Path
    _count: int = field(default=0)

    @property
    def theirs(self) -> tuple[str, ...]:
        """What a line may name of another customer: it is known to whoever types it."""
        return tuple(str(value) for name, value in self.places.items() if name.startswith("their_"))

    async def faults(self, name: str, cut: Cut, *, also_json: bool = False) -> list[str]:
        """Return what is wrong with the runs of a command; lines that do not say ``--output=json``
        are run with it too, where ``also_json`` and the command has that.
        """
        found = []
        for line in cut.lines:
            for more in ((), (_JSON,)) if also_json and _has_json(name, line) else ((),):
                shown = await self._run(name, line, more)
                wanted = cut.shows.format(**self.places)
                if shown.code not in {0, 1}:
                    found.append(f"{shown.line}: exit code {shown.code}: {shown.texts[_OUTPUT]}")
                elif not any(wanted in text for text in shown.texts.values()):
                    found.append(f"{shown.line}: nothing of {wanted}: {shown.texts[_OUTPUT]}")
                others = list(shown.traces((), counts=cut.counts))
                if cut.whole and not others:
                    found.append(f"{shown.line}: shows nothing of others, and needs no reason")
                found += [] if cut.whole else others
        for line in (*cut.refused, *cut.selects_none):
            shown = await self._run(name, line, ())
            if (shown.code == 0) is (line in cut.refused):
                found.append(f"{shown.line}: exit code {shown.code}: {shown.texts[_OUTPUT]}")
            found += shown.traces(self.theirs, counts=cut.counts)
        return found

    async def _run(self, name: str, line: str, more: tuple[str, ...]) -> "_Shown":
        self._count += 1
        folder = self.folder / f"run-{self._count}"
        (folder / "empty").mkdir(parents=True)
        words = [
            word.format(**self.places, new=folder / f"new-{number}", new_folder=folder / "empty")
            for number, word in enumerate(shlex.split(line))
        ]
        before = files_in(self.folder)
        done = await self.izin(*name.split(), *words, *more)
        changed = dict(files_in(self.folder).items() - before.items())
        texts = {_OUTPUT: done.stdout + done.stderr, **dict(contents(changed))}
        return _Shown(line=" ".join((name, *words, *more)), code=done.exit_code, texts=texts)


def _has_json(name: str, line: str) -> bool:
    return _JSON not in line and any("--output" in one.opts for one in COMMANDS[name].params)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What a run printed, and the files that it wrote."""

    line: str
    code: int
    texts: Mapping[str, str]

    def traces(self, given: tuple[str, ...], *, counts: bool) -> Iterator[str]:
        """Yield where it has something of others; in files, numbers may be offsets and sizes."""
        for where, text in self.texts.items():
            found = traces(text, given, counts=counts and where == _OUTPUT)
            if found:
                yield f"{self.line}: {where} has {found[:_SHOWN]}: {text[:2000]}"


@asynccontextmanager
async def every(installed: Installation, worker: Worker) -> AsyncIterator[Mapping[str, str]]:
    """Serve all of them; yield the URL of each listener."""
    found: dict[str, str] = {}
    gate, intake, api = (
        kind(port=free_port(), operations_port=free_port())
        for kind in (GateSettings, IntakeSettings, ApiSettings)
    )
    ledger = LedgerSettings()
    async with AsyncExitStack() as stack:
        for name, settings, run in (
            ("gate", gate, partial(gate_server.run, installed.kafka, gate, Codec())),
            ("intake", intake, partial(intake_process.run, installed.kafka, intake, Codec())),
            ("api", api, partial(api_process.run, installed.kafka, ledger, api, Codec())),
        ):
            client, operations = await stack.enter_async_context(served(settings, run))
            found |= {name: str(client.base_url), f"{OPERATIONS}{name}": operations}
        fed = await stack.enter_async_context(feeds.serving(installed.kafka))
        found |= {"feeds": str(fed.client.base_url), f"{OPERATIONS}feeds": fed.operations}
        await stack.enter_async_context(worker.serving())
        found["sink"] = f"http://127.0.0.1:{worker.port}"
        found[f"{OPERATIONS}sink"] = f"http://127.0.0.1:{worker.operations_port}"
        yield found
