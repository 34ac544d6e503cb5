"""Hostile consent events, made from a seed: what no entrance may stumble over.

Texts of every Unicode category, with NUL, halves of surrogate pairs and bidirectional marks; dates
from the year 1 to 9999, impossible ones and rubbish; sizes up to the limits and beyond; values of
wrong types, deep nesting, broken framings.

Also movements as İYS might show them, and records as an enemy, a bug or a broken disk would write
them: cut and flipped bytes, numbers at the ends of their types, words that the law does not know,
fields that contradict one another, and giants.
"""

import json
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any
from urllib.parse import quote_from_bytes

from izin.consent import ConsentEvent, IysOrigin
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro
from tests.support.builders import BRAND, CUSTOMER, EMAIL, NOON, PHONE
from tests.support.simulator import IYS_CODE

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

KEY_FIELDS = ("recipient", "type", "status", "brand_code")
OTHER_FIELDS = (
    "source",
    "consent_date",
    "date_basis",
    "id",
    "origin_ref",
    "sequence",
    "actor",
    "correlation_id",
    "retailer_code",
    "retailer_access",
    "notice_version",
    "evidence_hash",
    "evidence",
)
"""The JSON names of a record's fields."""

_SIZES = (63, 64, 127, 128, 265, 266, 999, 1000, 1001, 4096, 4097)
_HUGE = (65_536, 300_000)
_RARE = 0.01
_SPOILERS = (
    "\0",
    "\ud800",
    "\udfff",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\u200d",
    "\r\n",
    '"',
    "\\",
    ";",
)
_DATES = (
    "0001-01-01 00:00:00",
    "0000-00-00 00:00:00",
    "9999-12-31 23:59:59",
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+14:00",
    "2024-02-29 12:00:00",
    "2023-02-29 12:00:00",
    "2026-06-30 23:59:60",
    "2026-13-01 12:00:00",
    "2026-03-02 24:00:00",
    "2015-04-30 23:59:59",
    "2015-05-01 00:00:00",
    "2016-03-27 03:30:00",
    "99999",
    "45292,5",
    "00000,999999999999",
    "01/02/2026 10:00:00",
    "31/12/2026 10:00:00",
    "2026-03-02T12:00:00+99:99",
    "2026-03-02T12:00:00.123456789Z",
    "٢٠٢٦-٠٣-٠٢ ١٢:٠٠:٠٠",
    "-1",
    "1e400",
    "now",
)
_WORDS = (
    "ONAY",
    "RET",
    "onay",
    " ret ",
    "R\0ET",
    "EVET",
    "",
    "HS_WEB",
    "IYS_WEB",
    "TACIR",
    "MESAJ",
)
FIELDS = (
    "recipient",
    "type",
    "recipientType",
    "status",
    "source",
    "consentDate",
    "creationDate",
    "transactionId",
    "iysCode",
    "brandCode",
)
GIANT = 400_000
"""The size of the largest texts; a broker takes records of one megabyte."""
_MARK = "~~~"
_SURROGATES = ("\ud800", "\udbff", "\udc00", "\udfff")
_TEXTS = ("", "ONAY", "RET", "BELKI", "MESAJ", "EPOSTA", "TACIR", "null", "-1", "ı", "' OR 1=1")
_EDGES = (0, -1, 1, 2**31 - 1, -(2**31), 2**31, 2**53, 2**63 - 1, -(2**63))

Make = Callable[[int], Mapping[str, Any]]
"""Makes the content of a valid record of a number."""
Leaf = tuple[dict[str, Any], str]
"""What has a field, and its name."""


@cache
def characters() -> Mapping[str, Sequence[str]]:
    """Return some characters of every Unicode category."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for number in (*range(0x3000), *range(0x3000, 0x110000, 251)):
        found[unicodedata.category(chr(number))].append(chr(number))
    return found


class HostileInputs:
    """Makes hostile inputs; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def text(self) -> str:
        """Return any text, a long one now and then."""
        choose = self.random.choice
        text = "".join(self._character() for _ in range(self.random.randrange(12)))
        if self.random.random() < 0.2:  # now and then
            text = (text + choose("xş€😀")) * choose(_SIZES)
            text = text[: choose(_SIZES)]
        if self.random.random() < _RARE:
            text += "x" * choose(_HUGE)
        return text

    def _character(self) -> str:
        if self.random.random() < 0.2:  # now and then
            return self.random.choice(_SPOILERS)
        return self.random.choice(characters()[self.random.choice(list(characters()))])

    def spoilt(self, text: str) -> str:
        """Return ``text`` with something hostile in it."""
        at = self.random.randrange(len(text) + 1)
        return text[:at] + self._character() + text[at:]

    def instant(self) -> datetime:
        """Return an instant from the year 1 to 9999, often one close to noon."""
        if self.random.random() < 0.5:  # half of them
            return NOON + timedelta(milliseconds=self.random.randrange(-(10**9), 10**9))
        first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        seconds = self.random.choice((0, 1, self.random.randrange(300 * 10**9), 315_537_897_599))
        return min(first + timedelta(seconds=seconds), last)

    def date(self) -> str:
        """Return a date as a text: valid, impossible or rubbish."""
        one = self.random.choice((self.text, self.instant, lambda: self.random.choice(_DATES)))()
        return one if isinstance(one, str) else one.isoformat(self.random.choice(" T"))

    def value(self, depth: int = 0) -> Any:  # noqa: ANN401  # any JSON
        """Return any JSON value, most often a text."""
        makers: Sequence[Callable[[], Any]] = (
            self.text,
            self.text,
            self.date,
            lambda: self.random.choice(_WORDS),
            lambda: self.random.choice((None, True, False, 0, -1, 1.5, 1e308)),
            lambda: self.random.choice((2**31, 2**63, -(2**63), 10**300)),
            lambda: [self.value(depth + 1) for _ in range(self.random.randrange(4))],
            lambda: {self.text()[:50]: self.value(depth + 1) for _ in range(3)},
            lambda: list(range(10_000_000, 10_000_000 + self.random.choice((1, 2999, 3001)))),
        )
        return self.random.choice(makers if depth < 3 else makers[:6])()

    def record(self) -> dict[str, Any]:
        """Return a JSON record with any of its fields spoilt."""
        record = self._others(self.a_record(self.random.choice(("ONAY", "RET"))))
        for name in KEY_FIELDS:
            if self.random.random() < 0.15:  # each now and then
                given = record[name]
                record[name] = self.spoilt(given) if isinstance(given, str) else self.value()
            if self.random.random() < 0.05:  # each now and then
                record[name] = self.value()
        return record

    def ret(self) -> dict[str, Any]:
        """Return a RET whose key can be read, with any of the other fields spoilt."""
        return self._others(self.a_record("RET"))

    @staticmethod
    def a_record(status: str) -> dict[str, Any]:
        """Return a valid record."""
        return {
            "recipient": PHONE,
            "type": "MESAJ",
            "status": status,
            "source": "HS_WEB",
            "consent_date": "2026-03-02 12:00:00",
            "brand_code": BRAND,
        }

    def _others(self, record: dict[str, Any]) -> dict[str, Any]:
        for name in self.random.sample(OTHER_FIELDS, self.random.randrange(5)):
            record[name] = self.date() if name == "consent_date" else self.value()
        if self.random.random() < 0.1:  # now and then
            record["x" + self.text()[:60]] = self.value()
        return record

    def body(self, records: Sequence[Mapping[str, Any]]) -> bytes:
        """Return ``records`` as JSON, with characters escaped or not."""
        text = json.dumps(
            records if len(records) > 1 else records[0],
            ensure_ascii=self.random.random() < 0.5,  # half of them
        )
        return text.encode("utf-8", "surrogatepass")

    def form(self, record: Mapping[str, Any]) -> bytes:
        """Return ``record`` as a web form."""
        return "&".join(
            "=".join(
                quote_from_bytes(str(one).encode("utf-8", "surrogatepass")) for one in (name, value)
            )
            for name, value in record.items()
            if not isinstance(value, list | dict)
        ).encode()

    def broken(self, body: bytes) -> bytes:
        """Return ``body`` cut, nested, repeated, or with bytes changed."""
        at = self.random.randrange(len(body) + 1)
        return self.random.choice(
            (
                body[:at],
                body[at:],
                body + body,
                b"",
                b"[" * self.random.choice((3, 2_000)) + body,
                b'{"a":' * 2_000 + body,
                body[:at] + bytes(self.random.randrange(256) for _ in range(3)) + body[at:],
                b"\xff\xfe" + body,
                body.replace(b"1", b"1" * 5_000, 1),
                body.replace(b'"', b"NaN", 1),
            )
        )

    def event(self) -> ConsentEvent:
        """Return an event as a publisher may write it straight to the topic: texts that Avro takes,
        instants that it takes, anything else wrong.
        """
        random, iys = self.random, None
        if random.random() < 0.1:  # now and then
            iys = IysOrigin(
                stream=random.choice(("IYS", "HS", self._avro_text())),
                path=self._avro_text(),
                creation_date=self._avro_instant(),
                transaction_id=self._avro_text(),
            )
        return ConsentEvent(
            event_id=self._or(self._avro_text, "event-1"),
            customer_id=self._or(self._avro_text, CUSTOMER),
            brand_code=random.choice((BRAND, BRAND, 0, -1, 2**31 - 1)),
            type=self._or(self._avro_text, random.choice(("MESAJ", "ARAMA", "EPOSTA"))),
            recipient_type=self._or(self._avro_text, random.choice(("BIREYSEL", "TACIR", ""))),
            recipient=self._or(self._avro_text, random.choice((PHONE, EMAIL))),
            recipient_raw=self._or(self._avro_text, None),
            status=self._or(self._avro_text, random.choice(("ONAY", "RET"))),
            source=self._or(self._avro_text, random.choice(("HS_WEB", "HS_2015", None))),
            consent_date=random.choice((None, self._avro_instant())),
            received_at=random.choice((None, self._avro_instant())),
            date_basis=self._or(self._avro_text, "stated"),
            origin=self._or(self._avro_text, "web"),
            sequence=random.choice((None, 0, -1, 2**63 - 1)),
            actor=self._or(self._avro_text, None),
            retailer_code=random.choice((None, None, 1, 10_000_000)),
            retailer_access=random.choice((None, None, (), (1,), tuple(range(3001)))),
            evidence={self._avro_text(): self._avro_text() for _ in range(random.randrange(3))},
            iys=iys,
        )

    def framed(self, codec: Codec) -> bytes:
        """Return an event as bytes of a Kafka record, with a broken framing now and then."""
        value = codec.encode("ConsentEvent", event_to_avro(self.event()))
        return self.broken(value) if self.random.random() < 0.2 else value

    def _or(self, make: Callable[[], str], usual: Any) -> Any:  # noqa: ANN401  # a text or None
        return make() if self.random.random() < 0.1 else usual  # now and then

    def _avro_text(self) -> str:
        return self.text().encode("utf-8", "ignore").decode()

    def _avro_instant(self) -> datetime:
        instant = self.instant()
        return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def a_movement(recipient: str) -> dict[str, Any]:
    """Return the opt-out of a citizen, as İYS shows it."""
    return {
        "recipient": recipient,
        "type": "MESAJ",
        "recipientType": "BIREYSEL",
        "status": "RET",
        "source": "IYS_WEB",
        "consentDate": "2026-03-02 12:00:00",
        "creationDate": "2026-03-02 12:00:01",
        "transactionId": "0" * 64,
        "iysCode": IYS_CODE,
        "brandCode": BRAND,
    }


class HostileMovements(HostileInputs):
    """Makes hostile movements; the same ones for the same seed."""

    def movement(self, recipient: str) -> Any:  # noqa: ANN401  # any JSON
        """Return a movement with any of its fields spoilt, or no movement at all."""
        if self.random.random() < 0.05:  # now and then
            return self.value()
        movement = a_movement(recipient)
        for name in self.random.sample(FIELDS, self.random.randrange(1, 5)):
            given = movement[name]
            how = self.random.random()
            if how < 0.2:  # as often as each of the others
                del movement[name]
            elif how < 0.4 and isinstance(given, str):  # likewise
                movement[name] = self.spoilt(given)
            elif name.endswith("Date"):
                movement[name] = self.date()
            else:
                movement[name] = self.value()
        return movement

    def page(self, movements: Sequence[Any], after: str) -> bytes:
        """Return a page of movements, with characters escaped or not."""
        text = json.dumps(
            {"after": after, "list": list(movements)},
            ensure_ascii=self.random.random() < 0.5,  # half of them
        )
        return text.encode("utf-8", "surrogatepass")


class HostileRecords:
    """Hostile values of the ``record`` of a contract, spoilt from valid ones."""

    def __init__(self, codec: Codec, record: str, make: Make, *, seed: int) -> None:
        self._codec = codec
        self._record = record
        self._make = make
        self._random = Random(seed)
        self._inputs = HostileInputs(seed)

    def values(self, count: int) -> Iterator[bytes]:
        """Yield so many values, a few of them giants."""
        for number in range(count):
            if number % 500 == 0:
                yield self._with_text(number, lambda _: self._random.randbytes(GIANT // 2).hex())
            elif self._random.random() < 0.5:
                yield self._of_other_bytes(self._valid(number))
            else:
                yield self._of_other_content(number)

    def _valid(self, number: int) -> bytes:
        return self._codec.encode(self._record, self._make(number))

    def _of_other_bytes(self, value: bytes) -> bytes:
        """Return noise, or a value that was framed anew, cut, extended or flipped."""
        random = self._random
        flipped = bytearray(value)
        for _ in range(random.randrange(1, 9)):
            flipped[random.randrange(10, len(value))] = random.randrange(256)
        frames = [b"", b"\0" + random.randbytes(4), b"\0\0\0\0\1", b"\xc3\1" + random.randbytes(8)]
        frame = random.choice([*frames, b"\xc3\2" + value[2:10], value[:10] * 2])
        return random.choice(
            [
                random.randbytes(random.randrange(300)),
                frame + value[10:],
                value[: random.randrange(len(value))],
                value + random.randbytes(random.randrange(1, 50)),
                bytes(flipped),
            ]
        )

    def _of_other_content(self, number: int) -> bytes:
        """Return a record whose fields are others of their type, whose texts are empty, or one of
        them no text.
        """
        kind = self._random.randrange(4)
        if kind == 0:
            lone = self._random.choice(_SURROGATES).encode("utf-8", "surrogatepass")
            return self._with_text(number, lambda text: text + _MARK).replace(_MARK.encode(), lone)
        content = _copied(self._make(number))
        if kind == 1:
            for holder, name in _texts(content):
                holder[name] = ""
            return self._codec.encode(self._record, content)
        for holder, name in self._random.sample([*_leaves(content)], self._random.randrange(1, 6)):
            holder[name] = self._other(holder[name])
        try:
            return self._codec.encode(self._record, content)
        except (ValueError, TypeError, OverflowError):
            return self._of_other_content(number)  # the contract does not take it

    def _with_text(self, number: int, change: Callable[[str], str]) -> bytes:
        """Return a valid record of which one text is changed."""
        content = _copied(self._make(number))
        holder, name = self._random.choice(_texts(content))
        holder[name] = change(holder[name])
        return self._codec.encode(self._record, content)

    def _other(self, value: object) -> object:
        """Return another value of the type of ``value``."""
        match value:
            case bool():
                return not value
            case int():
                return self._random.choice(_EDGES)
            case datetime():
                return self._random.choice([self._inputs.instant(), self._random.choice(_EDGES)])
            case str():
                return self._random.choice([self._random.choice(_TEXTS), self._inputs.text()])
            case _:
                return self._random.choice([None, "", 0, self._inputs.instant()])


def _copied(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _copied(value) if isinstance(value, Mapping) else value
        for name, value in content.items()
    }


def _texts(content: dict[str, Any]) -> list[Leaf]:
    return [one for one in _leaves(content) if isinstance(one[0][one[1]], str)]


def _leaves(content: dict[str, Any]) -> Iterator[Leaf]:
    """Yield the place of every field that is no record."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value)
        elif not isinstance(value, list):
            yield content, name
