"""What a release wrote, kept in ``tests/fixtures/VERSION``: a ledger with its anchors, a record of
each contract, and the packed state of an order worker.
"""

import base64
import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import psycopg

from izin.consent import AdmittedEvent, Consent, Status, admit, decide
from izin.local import postgres
from izin.schemas import contracts
from izin.schemas.codec import Codec
from izin.schemas.records import consent_to_avro
from izin.streams.state.packing import LAYOUT, Packing
from tests.support.builders import NOON, an_event
from tools.golden_records import golden

FOLDER = Path(__file__).parents[2] / "fixtures"
RELEASES = tuple(sorted(FOLDER.iterdir())) if FOLDER.is_dir() else ()
THIS = FOLDER / metadata.version("izin")
LEDGER, ANCHORS, RECORDS, STATE = "ledger.sql", "anchors.jsonl", "records.json", "state.json"


def read(release: Path, name: str) -> Any:  # noqa: ANN401  # any JSON
    """Return the content of a JSON file of a release."""
    return json.loads((release / name).read_text("utf-8"))


def write(release: Path, name: str, content: Mapping[str, Any]) -> None:
    """Write such a file."""
    release.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    (release / name).write_text(f"{text}\n", "utf-8")


def in_json(value: Any) -> Any:  # noqa: ANN401  # any Avro value
    """Return an Avro value as JSON has it."""
    return json.loads(json.dumps(value, default=_in_json))


def _in_json(value: datetime | bytes) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value.isoformat()


def records() -> Mapping[str, Any]:
    """Return a record of each contract as this release writes it, and its values."""
    codec = Codec()
    return {
        name: {
            "bytes": base64.b64encode(codec.encode(name, golden(name))).decode(),
            "values": in_json(golden(name)),
        }
        for name in contracts.current()
    }


def state() -> Mapping[str, Any]:
    """Return packed consents of every shape as this release packs them, and their values."""
    packing, rows = Packing(), {}
    for one in _consents():
        packed = packing.pack(one).hex()
        rows[str(one.key)] = {"packed": packed, "values": in_json(consent_to_avro(one))}
    return {"layout": LAYOUT, "shared": [one.hex() for one in packing.shared()], "rows": rows}


def _consents() -> list[Consent]:
    uuid = "0195562a-7c00-7000-8000-000000000001"
    events = (
        an_event(),
        an_event(event_id=uuid, notice_version="2026-1"),
        an_event(status=Status.RET, source=None, event_id=uuid),
        an_event(recipient_type="TACIR", customer_id="beta", origin="web"),
        an_event(status=Status.RET, consent_date=None),
        an_event(consent_date=NOON - timedelta(days=3, milliseconds=1)),
    )
    found = []
    for number, event in enumerate(events):
        own = replace(event, recipient=f"+90555000{number:04}")
        admitted = admit(own, appended_at=NOON + timedelta(hours=1))
        assert isinstance(admitted, AdmittedEvent)
        found.append(decide(None, admitted).consent)
    # A later opt-in remembers the opt-out before it.
    later = replace(events[2], status=Status.ONAY, source="HS_WEB", event_id="later")
    later = replace(later, recipient="+905550000002", consent_date=NOON + timedelta(minutes=5))
    admitted = admit(later, appended_at=NOON + timedelta(hours=1))
    assert isinstance(admitted, AdmittedEvent)
    return [*found, replace(decide(found[2], admitted).consent, law_version="1")]


def dump(url: str, file: Path) -> None:
    """Write the database at ``url`` as SQL that any client can run."""
    program = postgres.postgres_programs() / "pg_dump"
    command = [program, "--inserts", "--no-owner", "--no-privileges", "--dbname", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # \restrict is of psql alone.
    lines = [one for one in text.splitlines() if not one.startswith(("\\", "--")) and one]
    file.write_text("\n".join(lines) + "\n", "utf-8")


def load(release: Path, url: str) -> None:
    """Fill the empty database at ``url`` with the ledger of a release."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute((release / LEDGER).read_bytes())
