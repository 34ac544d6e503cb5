"""What İYS's answer to a query of many means for a key, and the turns of the budget.

Who may push, and whether İYS shows a connection.
A time stamp is verified by RFC 3161, against the roots of the settings alone.

A daily file is hashed as İYS may have: with or without what stands before its lines.

İYS's daily file and ours are compared line by line; where it states no order, none counts.

A row is changed by a simple decision's bytes as by its values.

A reader of a topic is closed only when the thread of its poll has ended.

The size of the next batch of decisions.

What can be read of a decision that cannot be taken.
"""

import asyncio
import base64
import hashlib
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from cryptography.x509 import load_pem_x509_certificates
from hypothesis import given, strategies as st
from iys_simulator.timestamp_authority import TimestampAuthority
from pydantic import SecretStr
from structlog.testing import capture_logs

from izin.consent import (
    Action,
    Consent,
    ConsentEvent,
    Observation,
    RefusedEvent,
    Registered,
    State,
    admit,
    decide,
)
from izin.iys.errors import UnreadableError
from izin.iys.wire_format import UnreadableItem
from izin.iys.wire_format.consents import BYTE_ORDER_MARK, HEADER
from izin.ledger.daily.files import Compared
from izin.ledger.daily.lines import ERASED
from izin.ledger.record import (
    ConsentRow,
    LedgerUnavailableError,
    QuarantinedRecord,
    TopicMessages,
    first_row,
    is_swept,
    to_sweep_query,
)
from izin.ledger.record.apply import observed
from izin.ledger.sweep.sweeps import SweptKey
from izin.runtime.errors import SettingError
from izin.schemas.codec import Codec
from izin.schemas.timestamps import Timestamp, TimestampState, verify
from izin.schemas.topics import Topics
from izin.sinks.inbound.daily.content import (
    Download,
    HeldBy,
    LineDifference,
    blocks_of,
    by_place,
    compare,
)
from izin.sinks.inbound.daily.loop import trusted_roots
from izin.sinks.inbound.movements import unreadable_messages
from izin.sinks.inbound.push import AcceptedCredentials, Credentials
from izin.sinks.inbound.push_connections import is_established
from izin.sinks.inbound.sweep import KeyFinding, finding, is_as_known, may_be_asked
from izin.sinks.ingest.batch import BATCH, FEW, most_after
from izin.sinks.ingest.decision_reader import DecisionApplier, DecisionReader
from izin.sinks.ingest.ingested_topics import TopicReader
from izin.sinks.ingest.isolation import Gleaned, glean, opt_out
from izin.sinks.outbound.context import RequestBudget
from tests.support.builders import (
    CUSTOMER,
    NOON,
    PHONE,
    a_decision_record,
    a_key,
    a_ret,
    an_event,
    an_iys_origin,
)
from tests.support.waiting import ManualClock

BEFORE = NOON - timedelta(hours=1)
CREDENTIALS = Credentials(username="iys", password=SecretStr("fake-password"))


def a_row(**columns: Any) -> ConsentRow:  # noqa: ANN401 - a column's value each
    """Return the row of an opt-in that İYS holds, with ``columns`` changed."""
    settled = {
        "registered": Registered.ONAY,
        "registered_at": BEFORE,
        "desired_status": "ONAY",
        "state": State.ACCEPTED,
        "action": Action.NOTHING,
    }
    return first_row(a_key(), CUSTOMER, BEFORE).replace(**settled | columns)


def as_read(row: ConsentRow) -> SweptKey:
    """Return the key as a sweep has read it."""
    return SweptKey(
        key=row.key,
        recipient=row.recipient,
        channel=row.channel,
        recipient_type=row.recipient_type,
        registered=row.registered,
        registered_at=row.registered_at,
        last_exchange_at=row.last_exchange_at,
    )


@pytest.mark.parametrize("registered", list(Registered))
@pytest.mark.parametrize("is_approved", [True, False])
def test_only_onay_on_one_side_alone_is_a_difference(registered: Registered, is_approved: bool):
    """Absence where RET or nothing was believed needs nothing."""
    key = as_read(a_row(registered=registered))
    assert is_as_known(key, is_approved=is_approved) is (is_approved == (registered == "ONAY"))


@pytest.mark.parametrize(
    ("columns", "is_approved", "found"),
    [
        ({}, False, KeyFinding.SHUT),
        ({"desired_status": None}, False, KeyFinding.SHUT),
        ({"state": State.EXPIRED}, False, KeyFinding.SHUT),
        ({"state": State.PENDING, "action": Action.SEND}, False, KeyFinding.SHUT),
        ({"state": State.UNKNOWN, "action": Action.QUERY}, False, KeyFinding.SHUT),
        ({"desired_status": "RET"}, False, KeyFinding.SHUT),
        ({"desired_status": "RET", "action": Action.SEND}, False, KeyFinding.SKIPPED),
        ({"onay_open": True}, False, KeyFinding.SKIPPED),
        ({"ret_open": True}, False, KeyFinding.SKIPPED),
        ({"registered_at": NOON}, False, KeyFinding.SKIPPED),
        ({"registered": "UNKNOWN"}, True, KeyFinding.FOUND),
        ({"registered": "NONE", "desired_status": None}, True, KeyFinding.FOUND),
        ({"registered": "RET"}, True, KeyFinding.ASKED),
        ({"registered": "NONE", "desired_status": "RET"}, True, KeyFinding.ASKED),
        ({"registered": "NOT_ONAY", "latest_ret_at": BEFORE}, True, KeyFinding.ASKED),
        ({"registered": "UNKNOWN", "action": Action.SEND}, True, KeyFinding.SKIPPED),
        ({"registered": "UNKNOWN", "action": Action.QUERY}, True, KeyFinding.SKIPPED),
        ({"registered": "RET", "onay_open": True}, True, KeyFinding.SKIPPED),
    ],
)
def test_absence_shuts_the_gate_and_onay_beside_an_opt_out_is_asked_about(
    columns: dict[str, Any], is_approved: bool, found: KeyFinding
):
    """But for an opt-out on its way, and what moved since İYS was asked: whatever is due for the
    key reads İYS's answer itself.
    """
    row = a_row(**columns)
    assert finding(as_read(row), row, is_approved=is_approved, queried_at=NOON) is found


@pytest.mark.parametrize(
    "columns",
    [
        {"registered": "RET"},
        {"registered_at": BEFORE + timedelta(seconds=1)},
        {"last_exchange_at": NOON},
    ],
)
def test_key_that_changed_since_it_was_read_is_not_judged(columns: dict[str, Any]):
    """Nor is one that was erased."""
    key = as_read(a_row())
    values: dict[str, Any] = {"is_approved": False, "queried_at": NOON}
    assert finding(key, a_row(**columns), **values) is KeyFinding.SKIPPED
    assert finding(key, None, **values) is KeyFinding.SKIPPED


@pytest.mark.parametrize(
    ("columns", "asked"),
    [
        ({}, True),
        ({"registered": "NONE"}, False),
        ({"action": Action.SEND}, False),
        ({"ret_open": True}, False),
    ],
)
def test_refused_recipient_is_asked_about_alone_where_onay_is_believed(
    columns: dict[str, Any], asked: bool
):
    """Of any other the ledger believes nothing that it could permit."""
    row = a_row(**columns)
    assert may_be_asked(as_read(row), row, queried_at=NOON) is asked


@pytest.mark.parametrize("state", list(State))
def test_row_to_be_queried_alone_keeps_what_a_person_reads(state: State):
    """Its state stays, and so does the reason of what is refused, expired or parked."""
    row = to_sweep_query(a_row(state=state, reason="reconsent"), NOON)
    closed = state in {State.REFUSED, State.EXPIRED, State.PARKED}
    assert (row.state, row.reason) == (state, "reconsent" if closed else "swept")
    assert is_swept(row)
    assert not is_swept(row.replace(action=Action.NOTHING))


@pytest.mark.parametrize(
    ("value", "by", "seen_after", "registered", "created"),
    [
        ("RET", "status", 1, "RET", -3600),
        ("ONAY", "status", 1, "ONAY", -3600),
        ("ONAY", "status", -1, "NOT_ONAY", 0),
        ("ONAY", "pull", 1, "NOT_ONAY", 0),
        ("RET", "status", -1, "RET", 0),
        ("RET", "pull", 1, "RET", 0),
    ],
)
def test_query_of_the_key_alone_replaces_an_absence_whatever_its_date(
    value: str, by: str, seen_after: int, registered: str, created: int
):
    """The record that stands may be of last week. A consent that was asked for before, or is pulled
    in its turn, shows no more than what was; an opt-out is what was absent, and counts from then.
    """
    row = a_row(registered="NOT_ONAY", registered_at=NOON, verified_by="statuses")
    shown = Observation(
        value=Registered(value),
        creation_date=BEFORE,
        transaction_id="x",
        verified_at=NOON + timedelta(seconds=seen_after),
        verified_by=by,
    )
    after = observed(row, shown)
    assert (after.registered, after.registered_at) == (
        *(registered, NOON + timedelta(seconds=created)),
    )


class Clock(ManualClock):
    """A clock that only sleepers advance."""

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        self.now += seconds


async def test_budget_gives_every_turn_and_no_more():
    """Turns that were missed for half a second are made up; those of a minute are not."""
    clock = Clock(0.0)
    budget = RequestBudget(2, clock=clock, sleep=clock.sleep)
    for _ in range(5):
        await budget.turn()
    assert clock.now == 2.0
    clock.now = 2.75
    await asyncio.gather(*(budget.turn() for _ in range(2)))
    assert clock.now == 3.0
    clock.now = 63.0
    for _ in range(4):
        await budget.turn()
    assert clock.now == 63.5


ABSENT: Any = Mock(fetch=AsyncMock(side_effect=LedgerUnavailableError("away")))
"""A ledger that cannot be reached."""


def accepted(credentials: Credentials | None) -> AcceptedCredentials:
    """Return who may push while the ledger cannot be reached."""
    return AcceptedCredentials(credentials, ABSENT, clock=lambda: NOON)


def basic(text: str) -> str:
    """Return an Authorization header."""
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic", "Basic %%%", "Bearer abc", basic("iys:other"), basic("iys")],
)
async def test_push_with_wrong_credentials_is_refused(header: str | None):
    """İYS refuses a receiver that admits anybody."""
    assert not await accepted(CREDENTIALS).admits(header)


async def test_push_with_right_credentials_is_admitted():
    """The password is not printed."""
    assert await accepted(CREDENTIALS).admits(basic("iys:fake-password"))
    assert not await accepted(None).admits(basic("iys:fake-password"))
    assert "fake-password" not in repr(CREDENTIALS)


def test_stands_reads_the_answer_of_a_made_connection():
    """İYS's two sentences differ by one syllable."""
    assert is_established("Bağlantı Oluşturuldu")
    assert not is_established("Bağlantı Oluşturulamadı")
    assert not is_established(None)


def test_unreadable_movements_of_a_push_are_one_line_of_the_log():
    """Whoever pushes a thousand of them does not write as many lines, and each is kept."""
    items = [UnreadableItem(b"{}", f"{number}: not a movement") for number in range(1000)]
    messages = TopicMessages(Codec(), Topics())
    with capture_logs() as logs:
        assert len(unreadable_messages(items, "iys/push", messages, NOON)) == 1000
        assert unreadable_messages([], "iys/push", messages, NOON) == []
    assert [(one["log_level"], one["count"]) for one in logs] == [("critical", 1000)]


AUTHORITY, STRANGER = TimestampAuthority(), TimestampAuthority()
AT = datetime(2026, 3, 3, 3, tzinfo=UTC)
HASH = hashlib.sha384(b"a day").hexdigest()
REPLY = AUTHORITY.reply(HASH, AT, 7)
ROOTS = load_pem_x509_certificates(AUTHORITY.root_pem)
CONTENT = b"2026-03-02 09:00:01,aa,x,y\n2026-03-02 09:00:02,ab,x,y\n"
PREFIX = b"names\n"


@pytest.mark.parametrize(
    ("reply", "roots", "found"),
    [
        (REPLY, ROOTS, Timestamp(TimestampState.VERIFIED, AT)),
        (REPLY, (), Timestamp(TimestampState.UNVERIFIED, AT)),
        (None, ROOTS, Timestamp(TimestampState.MISSING, None)),
    ],
    ids=["of a trusted root", "without roots", "none"],
)
def test_reply_is_verified_by_trusted_roots(
    reply: bytes | None, roots: Sequence[Any], found: Timestamp
):
    """With the time that it states. Without roots it is kept, and nobody says that it is right;
    İYS may answer 204.
    """
    assert verify(reply, HASH, roots) == found


def altered(part: bytes) -> bytes:
    """Return the reply with another bit in the middle of this part."""
    place = REPLY.index(part) + len(part) // 2
    return REPLY[:place] + bytes([REPLY[place] ^ 1]) + REPLY[place + 1 :]


@pytest.mark.parametrize(
    ("reply", "text", "roots", "said"),
    [
        (REPLY, b"a day", load_pem_x509_certificates(STRANGER.root_pem), ""),
        *((REPLY, b"another day", roots, "it is of another hash") for roots in (ROOTS, [])),
        *(
            (altered(part), b"a day", ROOTS, "")
            for part in (bytes.fromhex(HASH), b"20260303030000Z", REPLY[-40:])
        ),
        *((content, b"a day", ROOTS, "") for content in (b"", b"no reply", REPLY[:-1])),
    ],
    ids=[
        *("of an unknown root", "other hash", "other hash, no roots", "hash", "time", "signature"),
        *("empty", "page", "half"),
    ],
)
def test_reply_of_somebody_or_something_else_is_wrong(
    reply: bytes, text: bytes, roots: Sequence[Any], said: str
):
    """By a signer that our settings do not trust, of another file, altered, or no reply at all."""
    found = verify(reply, hashlib.sha384(text).hexdigest(), roots)
    assert (found.state, said in str(found.error)) == (TimestampState.WRONG, True)


def test_roots_come_from_the_file_of_the_settings(tmp_path: Path):
    """Several in one file; no setting, no roots."""
    file = tmp_path / "roots.pem"
    file.write_bytes(AUTHORITY.root_pem + STRANGER.root_pem)
    assert len(trusted_roots(file)) == 2
    assert trusted_roots(None) == ()


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_file_without_roots_stops_the_process(tmp_path: Path, content: bytes | None):
    """It names the setting: stamps would else be called unverified for ever."""
    file = tmp_path / "roots.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingError, match="IZIN_TIMESTAMP_ROOTS"):
        trusted_roots(file)


def downloaded(content: bytes, *, size: int = 7) -> Download:
    """Return a download of ``content`` in small chunks."""
    download = Download()
    for start in range(0, len(content), size):
        download.write(content[start : start + size])
    download.finish()
    return download


@pytest.mark.parametrize("served", [b"", HEADER, BYTE_ORDER_MARK, BYTE_ORDER_MARK + HEADER])
@pytest.mark.parametrize("hashed", [b"", HEADER, BYTE_ORDER_MARK, BYTE_ORDER_MARK + HEADER])
def test_hash_is_found_with_whatever_stands_before(served: bytes, hashed: bytes):
    """What İYS serves before the lines need not be what it hashes."""
    with downloaded(served + CONTENT) as download:
        assert b"".join(blocks_of(download.lines)) == CONTENT
        assert download.prefix_with(hashlib.sha384(hashed + CONTENT).hexdigest()) == hashed
        assert download.count == 2


def test_names_with_another_line_end_are_hashed_as_served():
    """A header of a Windows program."""
    names = HEADER.replace(b"\n", b"\r\n")
    with downloaded(names + CONTENT) as download:
        assert download.prefix_with(hashlib.sha384(names + CONTENT).hexdigest()) == names


@pytest.mark.parametrize("change", [CONTENT[:-1], CONTENT[:30], CONTENT.replace(b"ab", b"ba"), b""])
def test_altered_file_has_no_known_hash(change: bytes):
    """A byte less, half of it, another letter, or nothing."""
    with downloaded(HEADER + change) as download:
        assert download.prefix_with(hashlib.sha384(HEADER + CONTENT).hexdigest()) is None


@pytest.mark.parametrize("content", [CONTENT[:-1], b"", b"\n", HEADER])
def test_every_line_is_counted(content: bytes):
    """The last line may lack its end."""
    with downloaded(content, size=1000) as download:
        assert download.count == len(b"".join(blocks_of(download.lines)).splitlines())


def test_other_columns_are_refused():
    """A file with a column more is not read as if it had none."""
    with Download() as download, pytest.raises(UnreadableError, match="other columns"):
        download.write(HEADER.replace(b"source", b"source,retailer") + CONTENT)


def a_line(second: int = 1, transaction: str = "aa", recipient: int = 1) -> bytes:
    """Return a line of a daily file."""
    person = f"+9055500{recipient:05d}"
    at = f"2026-03-02 09:00:{second:02d}"
    return f"{at},{transaction},{person},BIREYSEL,MESAJ,RET,{at},IYS_WEB\n".encode()


def compared(theirs: list[bytes], ours: list[bytes]) -> tuple[Compared, list[LineDifference]]:
    """Return what a comparison finds, and how the files differ."""
    notes = [one for _, some in by_place(theirs, ours) for one in some]
    return compare(theirs, ours, prefix=PREFIX), notes


def hash_of(lines: list[bytes]) -> str:
    """Return the SHA-384 of a file."""
    return hashlib.sha384(PREFIX + b"".join(lines)).hexdigest()


def test_lines_of_one_second_are_equal_in_any_order():
    """İYS sorts by second and transaction id, and all of a second may share one."""
    theirs = [a_line(recipient=2), a_line(recipient=1), a_line(2)]
    found, notes = compared(theirs, sorted(theirs))
    assert found == Compared(own_hash=hash_of(theirs), only_at_iys=0, only_here=0)
    assert not notes


def test_line_that_iys_has_twice_is_one_movement():
    """The same recipient, status and second: nothing of it is missing here."""
    theirs = [a_line(), a_line(), a_line(2)]
    found, notes = compared(theirs, [a_line(), a_line(2)])
    assert (found.own_hash, notes) == (hash_of(theirs), [])


def test_changed_line_is_one_on_each_side():
    """A date that differs: İYS's line is numbered, ours has no number."""
    changed = a_line(2).replace(b"RET", b"ONAY")
    found, notes = compared([a_line(), a_line(2)], [a_line(), changed])
    assert notes == [
        LineDifference(HeldBy.IYS, 2, a_line(2)),
        LineDifference(HeldBy.HERE, 0, changed),
    ]
    assert (found.only_at_iys, found.only_here) == (1, 1)
    assert found.own_hash == hash_of([a_line(), changed])


def test_erased_lines_are_skipped_and_counted_as_lines():
    """What was erased says nothing; the numbers of the others stay."""
    _, notes = compared([a_line(), ERASED, a_line(3)], [a_line()])
    assert notes == [LineDifference(HeldBy.IYS, 3, a_line(3))]


LINES = st.sets(
    st.builds(
        a_line,
        st.integers(1, 4),
        st.sampled_from(["aa", "ab"]),
        st.integers(1, 3),
    )
)


@given(LINES, LINES, st.randoms())
def test_differences_are_those_of_the_sets(theirs: set[bytes], ours: set[bytes], random: Random):
    """For any two files: what only one has, each once; the hash is equal only where none is."""
    at_iys = sorted(theirs, key=lambda one: (one[:22], random.random()))
    found, notes = compared(at_iys, sorted(ours))
    expected = [(HeldBy.IYS, one) for one in theirs - ours] + [
        (HeldBy.HERE, one) for one in ours - theirs
    ]
    assert Counter((one.side, one.line) for one in notes) == Counter(expected)
    assert all(at_iys[one.number - 1] == one.line for one in notes if one.side is HeldBy.IYS)
    numbers = [one.number for one in notes if one.side is HeldBy.IYS]
    assert numbers == sorted(numbers)
    assert (found.own_hash == hash_of(at_iys)) == (theirs == ours)


CODEC = Codec()
READER = DecisionReader(CODEC)
_SECONDS = st.integers(-2, 2).map(lambda seconds: NOON + timedelta(seconds=seconds))
_EVENTS = st.builds(
    an_event,
    event_id=st.sampled_from(["1", "2", "3", "4"]),
    status=st.sampled_from(["ONAY", "RET"]),
    source=st.sampled_from(["HS_WEB", "HS_FIZIKSEL_ORTAM"]),
    consent_date=_SECONDS,
    received_at=st.sampled_from([NOON + timedelta(minutes=1), NOON + timedelta(minutes=20)]),
    origin=st.sampled_from(["crm", "web"]),
    origin_ref=st.sampled_from([None, "row-1"]),
    notice_version=st.sampled_from([None, "2026-1"]),
    import_id=st.sampled_from([None, "f00"]),
    retailer_code=st.sampled_from([None, None, None, 11111111]),
    iys=st.sampled_from([None, None, None, an_iys_origin()]),
)
VALUE = CODEC.encode("Decision", a_decision_record(decide(None, a_ret())))
STATUS_ENDS = VALUE.index(PHONE.encode()) + len(PHONE) + len(b"\6RET")
APPENDED = datetime(2026, 3, 3, tzinfo=UTC)
RECORD = QuarantinedRecord(
    topic="consent-decisions",
    partition=3,
    offset=7,
    appended_at=APPENDED,
    key=None,
    value=b"",
    headers=(),
    reason="poison",
    error="ValueError",
    source="acme/web",
    is_ret=True,
)


def decisions(events: Sequence[ConsentEvent], *, stateful: bool) -> list[bytes]:
    """Return the decisions on ``events`` of a key; each on its own unless ``stateful``,
    as a ledger that is ahead of its topic reads them.
    """
    values, state = [], None
    for offset, event in enumerate(events):
        admitted = admit(event, appended_at=NOON + timedelta(hours=1))
        if isinstance(admitted, RefusedEvent):
            continue
        known: Consent | None = state if stateful else None
        decision = decide(known, admitted)
        state = decision.consent
        values.append(CODEC.encode("Decision", a_decision_record(decision, offset=offset)))
    return values


@given(
    event=_EVENTS,
    actor=st.sampled_from([None, "shop", "a\0da", "x" * 70]),
    sequence=st.sampled_from([None, 0, 2**40]),
)
def test_origin_of_a_simple_decision_is_that_of_its_values(
    event: ConsentEvent, actor: str | None, sequence: int | None
):
    """Read from its bytes behind what is found there, or decoded."""
    (value,) = decisions([replace(event, actor=actor, sequence=sequence)], stateful=False)
    decoded = READER.decode(value)["event"]
    found = READER.origin_of(READER.read(value))
    assert found == tuple(decoded[name] for name in ("event_id", "actor", "origin"))


@pytest.mark.parametrize("milliseconds", [1 << 62, -(1 << 62), 253_402_300_800_000])
def test_decision_with_a_wild_receipt_is_read_without_it(milliseconds: int):
    """The ledger takes what a record of another writer says, but for what is no instant."""
    admitted = admit(an_event(status="RET"), appended_at=NOON)
    content = a_decision_record(decide(None, admitted))
    content["event"]["received_at"] = milliseconds
    value = CODEC.encode("Decision", content)
    found = READER.read(value)
    assert (found.fields, found.is_ret) == (None, True)
    assert READER.decode(value)["event"]["received_at"] is None
    row = DecisionApplier(READER).apply(None, found, NOON + timedelta(hours=1))
    assert (row.desired_status, row.desired_at, row.received_at) == ("RET", NOON, None)


def test_fast_apply_decodes_a_template_once() -> None:
    """Only the first decision of a template is decoded, whatever number follows."""
    reader = Mock(wraps=READER)
    fast = DecisionApplier(reader)
    earlier = [
        an_event(event_id=str(n), consent_date=NOON - timedelta(seconds=n)) for n in range(5)
    ]
    values = decisions(earlier, stateful=False)
    entry = None
    for value in values:
        entry = fast.apply(entry, READER.read(value), NOON)
    assert len(values) == len(earlier)
    assert reader.decode.call_count == 1


def test_older_opt_out_with_the_id_of_the_opt_in_is_one():
    """Senders choose the ids, and may give one to both; an opt-out is read ahead of others."""
    opt_in = an_event(event_id="1", consent_date=NOON)
    opt_out = an_event(event_id="1", status="RET", consent_date=NOON - timedelta(seconds=1))
    _, stale = decisions([opt_in, opt_out], stateful=True)
    found = READER.read(stale)
    assert (found.fields is not None, found.is_ret) == (True, True)


@dataclass
class Client:
    """A consumer that is busy until it is let go; what it was asked for, in order."""

    going: threading.Event = field(default_factory=threading.Event)
    polling: threading.Event = field(default_factory=threading.Event)
    calls: list[str] = field(default_factory=list)

    def consume(self, _most: int, _wait: float) -> list[object]:
        """Return nothing, once let go."""
        self.polling.set()
        self.going.wait(10)
        self.calls.append("consumed")
        return []

    def close(self) -> None:
        """Take it."""
        self.calls.append("closed")


async def test_close_waits_for_a_cancelled_poll() -> None:
    """The consumer must not be closed while a thread still polls it."""
    client = Client()
    reader = TopicReader(client, topic="t", topic_id="1", positions={0: 0})  # type: ignore[arg-type]
    poll = asyncio.create_task(reader.poll(10, 5))
    await asyncio.to_thread(client.polling.wait, 10)
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    closing = asyncio.create_task(reader.close())
    await asyncio.sleep(0)
    client.going.set()
    await closing
    assert client.calls == ["consumed", "closed"]


@pytest.mark.parametrize(
    ("ruled", "of", "most"),
    [
        (0, 0, BATCH),
        (0, BATCH, BATCH),
        (FEW, BATCH, BATCH),
        (FEW + 1, BATCH, FEW),
        (FEW, FEW, FEW),
        (FEW // 2, FEW, FEW),
        (1, FEW, BATCH),
    ],
)
def test_most_after_limits_batches_of_known_keys(ruled: int, of: int, most: int) -> None:
    """The next batch is expected to be like the last one, whatever its size."""
    assert most_after(ruled, of) == most


def gleaned(value: bytes = VALUE) -> Gleaned:
    """Return what is gleaned of the bytes of a decision."""
    return glean(CODEC, value)


@pytest.mark.parametrize("end", range(STATUS_ENDS, len(VALUE)))
def test_glean_of_truncated_bytes_with_their_status_finds_the_opt_out(end: int) -> None:
    """Wherever the bytes end behind it."""
    found = gleaned(VALUE[:end])
    assert (found.status, found.key, found.effective_at) == ("RET", gleaned().key, NOON)


@pytest.mark.parametrize("end", range(STATUS_ENDS))
def test_glean_of_bytes_without_their_status_finds_nothing(end: int) -> None:
    """Half a recipient is another one, and must not be closed."""
    assert glean(CODEC, VALUE[:end]) is None


def test_opt_out_stands_at_the_instant_of_its_record() -> None:
    """It has the key and the instant, and names the place of what it stands for."""
    value = opt_out(CODEC, gleaned(), RECORD)
    found = CODEC.decode("Decision", value)
    assert DecisionReader(CODEC).read(value).key == str(a_key())
    assert (found["effective_at"], found["consent"]["status"]) == (NOON, "RET")
    assert (found["event"]["origin"], found["event"]["origin_ref"]) == (
        "quarantine",
        "consent-decisions/3/7",
    )
    assert found["consent"]["customer_id"] == CUSTOMER


@pytest.mark.parametrize(
    "stated", [None, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)]
)
def test_opt_out_without_a_usable_instant_counts_from_its_append(stated: datetime | None) -> None:
    """It is never later than its append, nor in a year before there were consents."""
    value = opt_out(CODEC, gleaned()._replace(effective_at=stated), RECORD)
    assert CODEC.decode("Decision", value)["effective_at"] == APPENDED


def test_opt_out_of_no_key_is_none() -> None:
    """The law builds no key of such a recipient."""
    key = {**gleaned().key, "recipient": "5" * 4000}
    assert opt_out(CODEC, gleaned()._replace(key=key), RECORD) is None
