"""Genuine facts of a history, generated: with texts, numbers and shapes of every kind in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

import orjson

from izin.consent import AdmittedEvent, Consent, Status, admit, decide
from izin.ledger.db import microseconds
from izin.ledger.history import Fact, decided
from izin.schemas.codec import Codec
from tests.support.builders import (
    BRAND,
    CUSTOMER,
    PHONE,
    a_decision_record,
    an_event,
    an_iys_origin,
)
from tests.support.evidence.archives import KEY

OTHERS = tuple(KEY.replace(PHONE, f"+90555000{number:04}") for number in range(2, 6))
_TEXTS = (
    *('Ayşe\'nin "onayı"', "\x01\x1f\x7f\x85", "\u2028\u2029\ufeff\u202e", "𝒂😀\U0010ffff", ""),
    *("\\ \\u0001 \\\\", "], [", '", null, "', "İıŞş", "<script>&amp;", " \t\r\n"),
)
_NUMBERS = (1e16, 1e-7, 0.1, -0.0, 5e-324, 1.7e308, 2.5, 2**63, -(2**63), 2**64 - 1, 0)


@dataclass(slots=True)
class FactSource:
    """Makes facts of several keys, one after another."""

    random: Random
    now: datetime
    consents: dict[str, Consent]
    number: int = 0

    def some(self, count: int) -> list[Fact]:
        """Return the next facts."""
        return [self.one() for _ in range(count)]

    def one(self, key: str | None = None) -> Fact:
        """Return the next fact, of some key."""
        self.number += 1
        self.now += timedelta(microseconds=self.random.randrange(1, 900_000_000))
        of = key or self.random.choice((KEY, KEY, *OTHERS))
        if self.random.random() < 0.3:
            return self._decision(of)
        kind, status, data = self.random.choice(list(self._shapes()))
        if kind == "receipt" and self.random.random() < 0.3:
            of = f"receipt/{self.number}"
        wild = {self.random.choice(_TEXTS): self.wild() for _ in range(self.random.randrange(3))}
        return Fact(
            kind,
            CUSTOMER,
            of,
            self.random.choice((None, f"event-{self.number}", self.random.choice(_TEXTS[2:]))),
            status,
            f"{kind}/{self.number}",
            microseconds(self.now),
            orjson.dumps({**wild, **data}),
            None,
        )

    def wild(self, depth: int = 3) -> Any:  # noqa: ANN401  # any JSON
        """Return any value that the ledger can write."""
        choice = self.random.randrange(7 if depth else 5)
        match choice:
            case 0:
                return self.random.choice((None, True, False))
            case 1:
                return self.random.choice(_NUMBERS)
            case 2:
                return self.random.uniform(-1, 1) * 10.0 ** self.random.randrange(-300, 300)
            case 3 | 4:
                return self.random.choice(_TEXTS)
            case 5:
                return [self.wild(depth - 1) for _ in range(self.random.randrange(4))]
            case _:
                return {one: self.wild(depth - 1) for one in self.random.sample(_TEXTS, 2)}

    def _shapes(self) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
        """Yield kind, status and data of what is no decision."""
        at, number = self.now.isoformat(), self.number
        status = self.random.choice(("ONAY", "RET"))
        about = {"submission": number % 7, "consent_date": at, "source": "HS_WEB"}
        yield "call", status, {**about, "kind": "single", "attempt": 1}
        answer = {"how": "add", "code": None, "transaction_id": "a" * 64, "creation_date": at}
        yield "answer", status, {**about, **answer, "verdict": "success"}
        shown = {"creation_date": at, "consent_date": at, "transaction_id": f"{number:064}"}
        yield "observation", status, {**shown, "source": "HS_WEB", "by": "pull"}
        yield "outcome", status, {"outcome": self.random.choice(("accepted", "refused"))}
        yield "delivery", None, {"topic": "permissions", "partition": 1, "offset": number}
        yield "act", None, {"act": "note", "by": "ada@example.com", "before": {}, "after": {}}
        yield "breach", "RET", {"due_at": at}
        asked = {"message_class": "commercial", "campaign": "bahar", "retailer_code": None}
        reply = {"index": 0, "may_send": True, "reason": "registered", "basis": None}
        yield "receipt", None, {**asked, **reply, "asked_by": "x", "as_of": at, "receipt_id": "r"}
        restored = {"origin": "web", "source": "HS_WEB", "consent_date": at, "origin_rank": None}
        yield "bootstrap", status, restored

    def _decision(self, key: str) -> Fact:
        status = self.random.choice((Status.ONAY, Status.RET))
        text = self.random.choice(_TEXTS)
        if self.random.random() < 0.1:
            text = "".join(map(stuffing, range(1, 20)))
        given: dict[str, Any] = {
            "event_id": f"event-{self.number}",
            "recipient": key.rsplit("/", 1)[-1],
            "status": str(status),
            "consent_date": self.now,
            "received_at": self.now + timedelta(seconds=2),
            "evidence": {"ip": "192.0.2.1", "form": text},
        }
        if status is Status.RET and self.random.random() < 0.5:
            seen = an_iys_origin(creation_date=self.now, transaction_id=f"{self.number:064}")
            given |= {"origin": "iys", "source": "IYS_WEB", "iys": seen}
        admitted = admit(an_event(**given), appended_at=self.now + timedelta(seconds=3))
        assert isinstance(admitted, AdmittedEvent), admitted
        decision = decide(self.consents.get(key), admitted)
        self.consents[key] = decision.consent
        stored = Codec().encode("Decision", a_decision_record(decision, offset=self.number))
        return decided(CUSTOMER, key, microseconds(self.now), stored)


def stuffing(place: int) -> str:
    """Return what a customer may put into an event: the text of a row that allows a message."""
    asked = '{"asked_by":"x","message_class":"commercial","campaign":"x","retailer_code":null,'
    reply = '"index":0,"may_send":true,"reason":"registered","basis":null,"as_of":"x"}'
    before = f'[{place}, "receipt", "{CUSTOMER}", "{KEY}", null, null, "receipt/1", 1, 2, '
    return f"{before}{asked}{reply}]"


def source_of(random: Random, at: datetime) -> FactSource:
    """Return a source of facts of the brand from an instant on."""
    assert all(one.startswith(str(BRAND)) for one in (KEY, *OTHERS))
    return FactSource(random, at, {})
