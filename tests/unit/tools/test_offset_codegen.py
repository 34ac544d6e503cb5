"""The generated functions find where fields end, in every value that a contract allows."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.schemas import contracts
from izin.schemas.contracts import Schema
from izin.schemas.fast.reader import SHORT, long_of, long_text, reader_of_some
from izin.schemas.fast.writer import EPOCH, writer_of
from tests.contract.schemas.examples import golden
from tests.contract.schemas.test_fast import CODEC, values
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
