"""docs/publishing.md: its programs run as they stand there, and write the same record."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from izin.kafka.clients import access_of, ensure_topics
from izin.local import ApicurioRegistry
from izin.producers import BackpressureError, IzinError, NewEvent
from izin.runtime.settings import KafkaSettings
from izin.schemas import contracts
from izin.schemas.codec import Codec
from izin.schemas.partitioning import partition_of
from izin.schemas.records import AvroRecord
from tests.integration.producers.conftest import IntakeProcess, publish_brand_and_key
from tests.support.builders import API_KEY, CUSTOMER, a_key
from tests.support.order.verdict import committed_records
from tests.support.published import delete_topics
from tests.support.subscribers.page_clients import ROOT, blocks, node_command, python_command

pytestmark = pytest.mark.broker

PAGE = (ROOT / "docs" / "publishing.md").read_text(encoding="utf-8")
PROGRAMS = blocks("publishing.md")
SINGLE, CONFLUENT = 10, 5
"""How long the two frames are."""
OURS = frozenset({"received_at", "recipient_raw"})
"""What our components set, and a plain client leaves out."""
OF_NOW = frozenset({"consent_date"})
"""What is another instant in each run."""


class Stored(NamedTuple):
    """A record as the broker has it."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes]


@pytest.fixture
def settings(unprefixed_kafka: str) -> Iterator[KafkaSettings]:
    """Yield topics that hold the brand and the API key alone, without a prefix, as the page has
    it.
    """
    settings = KafkaSettings(bootstrap_servers=unprefixed_kafka, partitions=3)
    ensure_topics(settings)
    publish_brand_and_key(settings)
    yield settings
    delete_topics(settings)


@pytest.fixture
def run(settings: KafkaSettings, tmp_path: Path) -> Callable[..., Stored]:
    """Return a function that runs a program of the page, and returns the one record it wrote."""

    def run(
        name: str,
        command: Callable[[Path], Sequence[str]] = python_command,
        **environment: str,
    ) -> Stored:
        before = len(stored(settings))
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(ROOT / "izin" / "schemas" / "avro" / "ConsentEvent.avsc", folder)
        (folder / name).write_text(PROGRAMS[name], encoding="utf-8")
        execute(command(folder / name), folder, settings, **environment)
        (one,) = stored(settings)[before:]
        return one

    return run


def execute(
    command: Sequence[str], folder: Path, settings: KafkaSettings, **environment: str
) -> str:
    """Run a command against the broker; return what it prints."""
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    done = subprocess.run(
        command,
        cwd=folder,
        env={
            "PATH": path,
            "PYTHONPATH": str(ROOT),
            "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stored(settings: KafkaSettings) -> list[Stored]:
    """Return what both lanes hold, in the order in which the broker appended it."""
    found = [
        message
        for topic in (settings.topics.events.name, settings.topics.express.name)
        for message in committed_records(settings, topic)
    ]
    return [
        Stored(
            str(one.topic()),
            one.partition() or 0,
            one.key(),
            one.value() or b"",
            {name: value or b"" for name, value in one.headers() or ()},
        )
        for one in sorted(found, key=lambda each: (each.timestamp()[1], each.offset()))
    ]


def decoded(value: bytes, frame: int) -> AvroRecord:
    """Return the record behind a frame of so many bytes."""
    return Codec().decode("ConsentEvent", Codec().header("ConsentEvent") + value[frame:])


def assert_same(one: Stored, other: Stored, *, frame: int = SINGLE, frame_of: int = SINGLE) -> None:
    """Assert that two programs wrote the same event to the same place."""
    assert one[:3] == other[:3]
    assert one.headers.keys() == other.headers.keys()
    assert {**one.headers, "ce_time": b""} == {**other.headers, "ce_time": b""}
    first, second = decoded(one.value, frame), decoded(other.value, frame_of)
    assert abs(first["consent_date"] - second["consent_date"]) < timedelta(minutes=2)
    assert [
        name for name in first if first[name] != second[name] and name not in OURS | OF_NOW
    ] == []


def test_plain_clients_write_what_the_library_writes(run: Callable[..., Stored]):
    """The same lane, partition, key, headers and event, at the present instant."""
    library, plain = run("library.py"), run("single_object.py")
    assert (library.topic, library.key) == ("consent-events-express", a_key().encode())
    assert library.partition == partition_of(a_key().encode(), 3)
    event = Codec().decode_event(library.value)
    assert (event.customer_id, event.origin) == (CUSTOMER, "crm")
    assert abs(event.consent_date - datetime.now(UTC)) < timedelta(minutes=2)
    assert_same(library, plain)
    assert_same(plain, run("publish.js", node_command))


def test_registry_changes_the_frame_and_nothing_else(
    settings: KafkaSettings, run: Callable[..., Stored], registry: ApicurioRegistry
):
    """Of the library, and of confluent-kafka's own serializer."""
    framed = settings.model_copy(update={"registry_url": registry.url})
    access_of(framed).codec(writes=["ConsentEvent"]).close()  # as the processes of izin do
    url = {"SCHEMA_REGISTRY_URL": registry.url}
    confluent, library = run("registry.py", **url), run("library.py", **url)
    plain = run("single_object.py")
    assert library.value[:CONFLUENT] == confluent.value[:CONFLUENT]
    assert confluent.value[0] == 0
    assert_same(confluent, plain, frame=CONFLUENT)
    assert_same(library, plain, frame=CONFLUENT)


def test_curl_at_the_intake_publishes_the_same_act(
    settings: KafkaSettings, run: Callable[..., Stored], tmp_path: Path
):
    """It comes from the web, with an id of its own; key, lane and what happened are the same."""
    (command,) = re.findall(r"```sh\n(curl .*?)```", PAGE, re.DOTALL)
    intake = IntakeProcess(settings)
    with intake.running():
        answer = execute(
            ("sh", "-ec", command),
            tmp_path,
            settings,
            INTAKE=f"http://127.0.0.1:{intake.port}",
            IZIN_API_KEY=API_KEY,
        )
    assert '"violations":[]' in answer
    (posted,) = stored(settings)
    library = run("library.py")
    assert posted[:3] == library[:3]
    first, second = decoded(posted.value, SINGLE), decoded(library.value, SINGLE)
    differing = {name for name in first if first[name] != second[name]}
    assert differing <= OURS | OF_NOW | {"date_basis", "event_id", "origin", "actor"}


def test_opt_in_of_the_page_has_no_violation(settings: KafkaSettings, tmp_path: Path):
    """It goes to the other lane, and İYS would register it."""
    (tmp_path / "opt_in.py").write_text(PROGRAMS["opt_in.py"], encoding="utf-8")
    assert execute(python_command(tmp_path / "opt_in.py"), tmp_path, settings) == ""
    (one,) = stored(settings)
    assert one.topic == settings.topics.events.name
    assert Codec().decode_event(one.value).status == "ONAY"


def test_event_loop_and_arguments_of_the_page_work(settings: KafkaSettings, tmp_path: Path):
    """What they print is what the page says."""
    for name in ("many.py", "by_arguments.py"):
        (tmp_path / name).write_text(PROGRAMS[name], encoding="utf-8")
    printed = execute(python_command(tmp_path / "many.py"), tmp_path, settings)
    assert printed.split() == ["recipient", "H121", "source", "H113", "consent_date", "H112"]
    assert len(stored(settings)) == 49
    printed = execute(python_command(tmp_path / "by_arguments.py"), tmp_path, settings)
    assert printed == "0 events are outstanding\n"


def test_page_has_the_fingerprint_and_every_error():
    """The bytes as they are on the wire, in both places; and each error that is exported."""
    frame = Codec().header("ConsentEvent")
    assert frame == b"\xc3\x01" + contracts.current()["ConsentEvent"].fingerprint
    assert f"`{frame.hex(' ')}`" in PAGE
    assert f"'{frame.hex()}'" in PROGRAMS["publish.js"]
    named = set(re.findall(r"^\| `(\w+Error)` \|", PAGE, re.MULTILINE))
    assert named == {one.__name__ for one in leaves(IzinError)} | {"BrokerError"}
    assert issubclass(BackpressureError, IzinError)


def test_page_has_every_field_of_an_event():
    """In the order of the class, with those that have no default as needed."""
    (table,) = re.findall(r"^\| field of `NewEvent` .*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| (`[^|]*) \| ?([^|]*?) \|", table, re.MULTILINE)
    named = {name: needed for names, needed in rows for name in re.findall(r"`(\w+)`", names)}
    declared = {one.name: one for one in fields(NewEvent)}
    assert list(named) == list(declared)
    for name, one in declared.items():
        has_default = one.default is not MISSING or one.default_factory is not MISSING
        assert has_default == (named[name] != "yes"), name


def leaves(error: type[IzinError]) -> set[type[IzinError]]:
    """Return the errors that programs get, of the tree under ``error``."""
    import izin.producers  # noqa: PLC0415  # the names that it exports

    exported = {getattr(izin.producers, one) for one in izin.producers.__all__}
    return {one for one in exported if isinstance(one, type) and issubclass(one, error)} - {
        IzinError,
        izin.producers.SourceError,
        izin.producers.OurError,
    }
