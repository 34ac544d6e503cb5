"""The generated functions find where fields end, in every value that a contract allows.

The generated files are current, and the page of retention forgets no topic.
The verdict on a run of mutation testing.
The rooms that a call goes through.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import chain, pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from izin.schemas import contracts
from izin.schemas.contracts import Schema
from izin.schemas.fast.reader import SHORT, long_of, long_text, reader_of_some
from izin.schemas.fast.writer import EPOCH, writer_of
from izin.schemas.topics import Topics
from tests.contract.schemas.examples import golden
from tests.contract.schemas.test_topics import CODEC, values
from tools.generate import ROOT, pages
from tools.hand_overs import Way
from tools.mutants import check
from tools.offset_codegen import generate


def offsets_of(
    schema: Schema, ends: Sequence[str], instants: Sequence[str] = ()
) -> Callable[[bytes, int], tuple[Any, ...]]:
    """Return the function that is generated for these fields of `schema`."""
    source = generate(schema, ends, instants)
    types = {field["name"]: field["type"] for field in schema["fields"]}
    names: dict[str, Any] = {"short": SHORT, "long_text": long_text, "long_of": long_of}
    names |= {f"read_{name}": reader_of_some(types[name]) for name in source.readers}
    exec(f"def find(data, at):\n{source.body}\n", names)
    return names["find"]


@pytest.mark.parametrize("record", sorted(contracts.current()))
@given(data=st.data())
def test_offsets_are_the_ends_of_the_fields(record: str, data: st.DataObject) -> None:
    """The fields between them are the record's; the instants are its own."""
    contract = contracts.current()[record]
    fields = contract.schema["fields"]
    names = [field["name"] for field in fields]
    timestamp = {"type": "long", "logicalType": "timestamp-millis"}
    instants = [one["name"] for one in fields if one["type"] in (timestamp, ["null", timestamp])]
    value = data.draw(values(contract.schema))
    body = writer_of(contract.schema)(value)
    try:
        found = offsets_of(contract.schema, names, instants)(body, 0)
    except ValueError:
        # Unusual, and left to others: a map in which a count or a size takes several bytes.
        assert any(isinstance(one, dict) for one in value.values())
        return
    assert found[-1] == len(body)
    edges = [0, *found[: len(names)]]
    for field, (start, end) in zip(fields, pairwise(edges), strict=True):
        assert body[start:end] == writer_of(field["type"])(value[field["name"]])
    for name, millis in zip(instants, found[len(names) : -1], strict=True):
        at = value[name]
        assert millis == (None if at is None else (at - EPOCH) // timedelta(milliseconds=1))


@given(st.data())
def test_offsets_of_unreadable_bytes_are_not_found(data: st.DataObject) -> None:
    """Bytes changed or cut short anywhere: offsets are found only of what can be read."""
    contract = contracts.current()["ConsentEvent"]
    body = bytearray(CODEC.encode("ConsentEvent", golden("ConsentEvent")))
    start = len(CODEC.header("ConsentEvent"))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(start, len(body) - 1))
        body[place] = data.draw(st.integers(0, 255))
    broken = bytes(body[: data.draw(st.sampled_from([len(body), len(body) - 1, len(body) // 2]))])
    try:
        *_, end = offsets_of(contract.schema, ["iys"])(broken, start)
    except Exception:  # noqa: BLE001  # whatever it stumbles on
        return
    if end == len(broken):
        CODEC.decode("ConsentEvent", broken)


def test_offsets_of_a_missing_field_are_refused() -> None:
    """A field that the contract lost is found when the worker starts."""
    schema = contracts.current()["Consent"].schema
    with pytest.raises(ValueError, match="nowhere"):
        offsets_of(schema, ["nowhere"])
    with pytest.raises(ValueError, match="status"):
        offsets_of(schema, [], ["status"])


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_generated_file_is_current(name: str) -> None:
    """A file that differs from the code is renewed with: make docs."""
    assert (ROOT / name).read_text(encoding="utf-8") == pages()[name], "run: make docs"


def test_retention_page_has_each_topic_with_recipients() -> None:
    """Also where the field does not say that it is personal data."""
    schemas = {name: json.dumps(one.schema) for name, one in contracts.current().items()}
    naming = {one.name for one in Topics() if '"name": "recipient"' in schemas[one.record]}
    rows = pages()["docs/retention.md"].splitlines()
    cells = chain.from_iterable(row.split("|")[1:2] for row in rows)
    assert naming >= {"consent-events", "gate-receipts"}
    naming -= {Topics().opted_out_merchants.name}  # whose records have digests alone
    assert naming <= {one.strip(" `") for one in cells}


@pytest.mark.parametrize(("killed", "code", "word"), [(89, 0, "ok"), (88, 1, "short")])
def test_fewer_than_nine_in_ten_killed_mutants_are_short(
    killed: int, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mutant that never ends counts as killed; skipped ones do not count."""
    assert check({"killed": killed, "timeout": 1, "total": 110, "skipped": 10}) == code
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"law-mutants: {killed + 1} % (bar ≥ 90 %) {word}"


PUSH = "tests/unit/sinks/test_incoming.py"


def test_return_is_a_room_that_the_way_has_left_before() -> None:
    """Several calls within a room are one stay."""
    way = Way()
    for room in ("a", "a", "b", "b", "a", "c", "a", "b"):
        way.enter(room)
    assert (way.rooms, way.returns) == (["a", "b", "a", "c", "a", "b"], 3)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        # It waits for the ledger, and for nobody else's task.
        (
            "izin.sinks.inbound.push:AcceptedCredentials.admits",
            "hand-overs: 0, returns: 0",
        ),
        ("izin.sinks.inbound.push:Nowhere.called", "was not called"),
    ],
)
def test_command_prints_the_way_of_a_call_in_a_test(call: str, expected: str) -> None:
    """What waits and goes on is one call."""
    ran = subprocess.run(
        [sys.executable, "-m", "tools.hand_overs", PUSH, "--call", call],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert expected in ran.stdout + ran.stderr
    assert (ran.returncode == 0) is ("returns" in expected)
