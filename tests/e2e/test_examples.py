"""Every command of the pages is run as it stands there, on a stack: ``make site`` does that.

A page is read from its top, in a folder of its own: what a command leaves, the next one finds. Of
what stands for others (a port, a key, a file of one's own) there are the stack's, and examples.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from izin.consent import TURKEY
from tests.e2e.stack import ROOT, a_stack, environment_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
DOCS = ROOT / "docs"
ELSEWHERE = {
    "connect": "tests/e2e/test_connect.py",
    "deploying": "for hosts of one's own; tests/contract/test_systemd.py",
    "security": "settings of servers of one's own",
    "supply-chain": "of what a registry has; make release",
    "tr/complaints": "those of complaints, whose first complaint they close again",
}
"""The pages whose commands are for other machines, and what tries them."""
NOT_HERE = {
    ("make ", ". ", "set -a", "export IZIN_GATE_URL", "export KAFKA_"): "the stack is there",
    ("izin gate", "izin intake", "izin feeds", "izin api", "izin console", "izin outbox"): (
        "runs until it is stopped; the stack runs it"
    ),
    ("IYS_BASE_URL=https", "IZIN_CONSOLE_", "IZIN_INTAKE_SOURCES=sources izin intake"): (
        "asks İYS or a server of one's own"
    ),
}
"""How commands begin that are not run, and why."""
OWN = ("…", "0a1b2c3d4e5f", "$SECRET", "$IZIN_OUTBOX_DATABASE_URL", "event-1")
"""What stands for something that only the reader has."""
OTHERWISE = {
    "izin may-send": 1,  # no
    "izin evidence verify": 1,  # it has no root for the time stamps of the simulator
    "izin complaints list": 1,  # one is overdue
    "izin subscribers compare": 1,  # they differ
    "izin customers pack": 1,  # items of the application are missing
    "izin customers void-consents": 1,  # there is one
    "izin privacy erase": 1,  # a consent stands
    "izin worklist": 1,  # something needs a person
    '"phone": "12"': 22,  # 422, as the page shows
}
"""With which code other than 0 a command may end that has these words."""
PORTS = {"8081": "INTAKE", "8084": "FEEDS", "8087": "GATE", "8088": "API"}
PEOPLE = "telefon;ad\n0555 000 00 01;Ada\n0555 000 00 02;Efe\n"


def today() -> str:
    """Return this instant in Turkey, as a file has it."""
    return datetime.now(TURKEY).strftime("%d.%m.%Y %H:%M:%S")


FILES = {
    "customers.csv": PEOPLE,
    "list.csv": PEOPLE,
    "spring.csv": PEOPLE,
    "requests.txt": "+905550000003\n",
    "rehber.csv": "telefon;kanal;durum;kaynak;tarih;marka\n"
    f"0555 000 00 03;SMS;ONAY;HS_WEB;{today()};100001\n",
    "export.csv": "kayıt no;telefon;kanal;durum;kaynak;tarih;marka\n"
    f"A-1;0555 000 00 04;SMS;ONAY;HS_WEB;{today()};100001\n",
    "musteri.csv": "Müşteri No;Ad Soyad;telefon;kanal;durum;kaynak;tarih;marka\n"
    f"7;Ada;0555 000 00 05;SMS;ONAY;Mağaza;{today()};100001\n",
    "delivery.json": json.dumps(
        {
            "type": "track",
            "event": "Marketing Consent Changed",
            "messageId": "1",
            "timestamp": datetime.now(UTC).isoformat(),
            "properties": {"phone": "05550000006", "channel": "sms", "consent": True},
        }
    ),
}
"""What the reader has."""
BEFORE = {"replaying": ("izin scrub spring.csv --brand 100001 --type MESAJ --campaign spring",)}
"""What the reader of a page has done."""
NOBODY_YET = {"via": "0555 000 00 71"}
"""In place of a person whom another page has had refuse."""
LAST = ("tr/privacy", "customers")
"""The pages that end what others need."""


def pages() -> list[str]:
    """Return the pages that have commands, in an order in which none takes what another needs."""
    found = sorted([*DOCS.glob("*.md"), *DOCS.glob("tr/*.md")])
    names = [
        str(path.relative_to(DOCS).with_suffix(""))
        for path in found
        if "```sh\n" in path.read_text("utf-8")
    ]
    return [name for name in names if name not in ELSEWHERE and name not in LAST] + [*LAST]


def commands(page: str) -> Iterator[str]:
    """Yield the commands of a page, each with what it is continued by."""
    for block in re.findall(r"(?s)```sh\n(.*?)```", page):
        command = ""
        for line in block.splitlines():
            command += line
            with suppress(ValueError):
                if not line.endswith("\\") and shlex.split(command, comments=True):
                    yield command
                    command = ""
                    continue
            command += "\n"


def given(stack: Mapping[str, str]) -> dict[str, str]:
    """Return what the reader of the pages has from before: an event's id and token, and where a
    feed goes on.
    """
    url = "http://127.0.0.1:{}/v1/{}"
    key = {"Authorization": f"Bearer {stack['IZIN_API_KEY']}"}
    consent = {"phone": "05550000001", "type": "SMS", "status": "ONAY", "source": "HS_WEB"}
    with httpx.Client(headers=key, trust_env=False) as client:
        posted = client.post(
            url.format(stack["IZIN_INTAKE_PORT"], "consents"),
            data={**consent, "brand_code": "100001"},
        ).json()
        page = client.get(url.format(stack["IZIN_FEEDS_PORT"], "opt-outs")).json()
    (event,) = posted["events"]
    return {"EVENT_ID": event["event_id"], "TOKEN": event["token"], "NEXT": page["next"]}


def wrong(page: str, settings: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Run the commands of a page; yield those that end otherwise than they should."""
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_text(content, encoding="utf-8")
    skipped = tuple(one for group in NOT_HERE for one in group)
    run = [
        one
        for one in [*BEFORE.get(page, ()), *commands((DOCS / f"{page}.md").read_text("utf-8"))]
        if not one.startswith(skipped) and not any(mark in one for mark in OWN)
    ]
    script = "".join(f"{one}\nprintf '\\036%s\\036' $?\n" for one in run)
    for port, name in PORTS.items():
        script = script.replace(f":{port}/", f":{settings[f'IZIN_{name}_PORT']}/")
    script = script.replace("0555 000 00 01", NOBODY_YET.get(page, "0555 000 00 01"))
    script = re.sub("curl (?!--fail)", "curl --fail-with-body --silent --show-error ", script)
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        cwd=folder,
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    parts = done.stdout.split("\x1e")
    ended = list(zip(run, parts[::2], parts[1::2], strict=False))
    if len(ended) < len(run):
        yield f"{page}: the shell ended after {len(ended)} of {len(run)} commands"
    for command, printed, code in ended:
        may_be = {0, *(other for words, other in OTHERWISE.items() if words in command)}
        if int(code) not in may_be:
            yield f"{page}: exit code {code}: {command}\n{printed}"


def test_every_command_of_every_page_ends_as_it_should(tmp_path: Path) -> None:
    """And what is not run is for another machine, or needs what only its reader has."""
    folder = tmp_path / "state"
    with a_stack(folder):
        settings = environment_of(folder)
        programs = Path(sys.executable).parent
        more = {
            **given(settings),
            "IZIN_GATE_URL": f"http://127.0.0.1:{settings['IZIN_GATE_PORT']}",
            "INTAKE": f"http://127.0.0.1:{settings['IZIN_INTAKE_PORT']}",
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        }
        found = [
            fault
            for page in pages()
            for fault in wrong(page, {**settings, **more}, tmp_path / "pages" / page)
        ]
    assert not found, "\n\n".join(found)
