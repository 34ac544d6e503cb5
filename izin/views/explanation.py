"""The state and the history of a key in words, in the order in which we learnt it; and acts."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from izin.consent import WAITING, ActionReason, Violation
from izin.consent.may_send import PermissionReason
from izin.consent.violations import REASONS
from izin.evidence.iys_history import ANSWERS
from izin.ledger.history import EVERYBODY, NOT_SENT, UNNAMED
from izin.ledger.reads import RecordedFact
from izin.ledger.record import EVERY, Brand, ConsentRow, Suspension
from izin.views.sentences import Sentence, sentence
from izin.views.words import ENGLISH, Words, is_consent

STATES = {
    "pending": "to be sent to İYS",
    "in_flight": "being sent to İYS now",
    "awaiting_result": "sent to İYS; the result is not there yet",
    "unknown": "İYS's reply is unknown; its status is queried",
    "accepted": "registered at İYS",
    "refused": "refused by İYS",
    "retryable": "will be sent again",
    "parked": "needs a person",
    "expired": "too late to be registered; a new consent is needed",
    "superseded": "replaced by a newer event",
    "not_needed": "nothing to send",
}
"""What each state of an obligation says, and that of an event that was replaced."""
PERMISSIONS: Mapping[str, str] = {
    PermissionReason.EXEMPT: "information that needs no consent",
    PermissionReason.OPTED_OUT: "the recipient opted out",
    PermissionReason.UNKNOWN: "the brand is not one of the caller's",
    PermissionReason.STALE: "not confirmed for too long",
    PermissionReason.SUSPENDED: "an operator has stopped the messages of the brand",
    PermissionReason.RETAILER_NOT_COVERED: "the consent gives the retailer no access",
    PermissionReason.REGISTERED: "İYS holds the consent",
    PermissionReason.AWAITING_IYS: "İYS does not hold the consent yet",
    PermissionReason.VOID: "the consent expired or was refused: a new one is needed",
    PermissionReason.REGISTER_FIRST: "a TACIR (merchant) whom İYS does not have: register first",
    PermissionReason.NOT_REGISTERED: "İYS holds no consent",
}
DECISIONS = {
    "first": "applied: the first event of this key",
    "newer": "applied: newer than the state",
    "ret-wins-tie": "applied: within the same second the opt-out wins",
    "older": "no change: older than the state",
    "better-evidence": "only the evidence changes, which is better",
    "lesser-evidence": "no change: the same, with lesser evidence",
    "same-event": "no change: the same event again",
}
VERDICTS = {
    "success": "accepted",
    "already": "registered already",
    "expired": "refused as too late",
    "data": "refused for its content",
    NOT_SENT: "not sent, for something had changed",
}
_TITLES = {
    "decision": "event",
    "bootstrap": "restored from desired-consents",
    "call": "sent to İYS",
    "answer": "reply of İYS",
    "observation": "movement at İYS",
    "outcome": "outcome",
    "delivery": "published",
    "act": "a person",
    "breach": "sent late",
    "receipt": "asked the gate",
}
_RANK = {kind: place for place, kind in enumerate(_TITLES)}
_CODES = {
    "H175": "it holds no consent to withdraw (H175)",
    "H486": "it holds no consent to withdraw (H486)",
}
_NOBODY = {EVERYBODY: "everybody", UNNAMED: "somebody"}
"""The keys of looks that name no person."""
_LONGEST, _ENDING = 16, 6
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:")
_OF_ONE = re.compile(r"(.+?)( \d+| \S+/\S+)?")
"""What an act is called, and of which number or channel it is."""
Shown = Callable[[object], object]
"""Returns a value as it may be shown."""


def as_it_is(value: object) -> object:
    """Return a value, of which all may be shown."""
    return value


class Explanation:
    """Says in ``words`` what stands of a key, and what happened; ``shown`` masks what it must."""

    def __init__(self, words: Words = ENGLISH, shown: Shown = as_it_is) -> None:
        self._text, self._when = words
        self._shown = shown

    def heading(self, key: str) -> str:
        """Return the recipient, channel, recipient type and brand of a key."""
        brand, channel, recipient_type, recipient = key.split("/", 3)
        of_brand = self._text("brand %(brand)s", brand=brand)
        return f"{self._shown(recipient)} · {channel} · {recipient_type} · {of_brand}"

    def concerned(self, key: str) -> str:
        """Return what an act concerns, by its key: a recipient's own, or what is named."""
        if is_consent(key):
            return self.heading(key)
        if key in _NOBODY:
            return self._text(_NOBODY[key])
        kind, _, name = key.partition("/")
        # Of a person there is a keyed digest: its end tells one from another.
        return f"{self._text(kind)} {name if kind != 'person' else f'…{name[-_ENDING:]}'}"

    def why_closed(self, brand: Brand) -> str | None:
        """Return why nothing may be sent for a brand by a person's order; None: it may."""
        if not brand.suspension and brand.status == "active":
            return None
        return brand.suspension or self._text("the brand is stopped")

    def why_suspended(
        self, entry: ConsentRow, brand: Brand | None, suspensions: Iterable[Suspension]
    ) -> str | None:
        """Return why a key that waits to be sent is suspended, and since when; None: it is not."""
        if entry.state not in WAITING:
            return None
        if brand is not None and brand.status != "active":
            return self._text(
                "suspended, for its brand is stopped: izin brands show %(brand)s",
                brand=entry.brand_code,
            )
        channels, statuses = {EVERY, entry.channel}, {EVERY, entry.desired_status}
        found = [
            suspension
            for suspension in suspensions
            if suspension.brand_code == entry.brand_code
            and suspension.channel in channels
            and suspension.status in statuses
        ]
        if not found:
            return None
        first = min(found, key=lambda one: one.since)
        return self._text(
            "suspended since %(since)s, %(reason)s: izin brands suspensions",
            since=self._when(first.since),
            reason=first.reason,
        )

    def sentence(self, found: Sentence | None) -> str | None:
        """Return a sentence as it is said; None for none."""
        return None if found is None else self._text(found)

    def state_rows(
        self, entry: ConsentRow, suspended: str | None, gate: str | None = None
    ) -> list[tuple[str, str]]:
        """Return the state of a key, a row a question; ``suspended`` says why it is not sent now,
        and ``gate`` why nothing may be sent for its brand.
        """
        say = self._text
        answer = self.answer(may_send=entry.may_send, reason=entry.permission_reason)
        if gate:
            answer = say(
                "no: suspended, %(gate)s; without that %(answer)s", gate=gate, answer=answer
            )
        return [
            (say("desired"), self._since(entry.desired_status, entry.desired_at)),
            (say("registered at İYS"), self._since(entry.registered, entry.registered_at)),
            (say("state"), self._state(entry, suspended)),
            (say("may we send?"), answer),
        ]

    def answer(self, *, may_send: bool, reason: str | None) -> str:
        """Return whether a message may be sent, and why."""
        return f"{self._text('yes' if may_send else 'no')}: {self._permission(reason)}"

    def delivery_rows(self, sent: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
        """Return a row for each event that a subscriber took, in their order; a repetition says
        so.
        """
        return [
            (
                self._when(one["delivered_at"]),
                one["subscriber"],
                one["type"]
                if one["resend_id"] is None
                else self._text("%(type)s, again", type=one["type"]),
                str(one["attempts"]),
                f"{one['topic']}/{one['partition']}/{one['offset']}",
            )
            for one in sent
        ]

    def history_rows(self, facts: Iterable[RecordedFact]) -> list[tuple[str, str, str]]:
        """Return a row a fact, in the order in which we learnt it; causes before effects."""
        ranked = sorted(
            facts, key=lambda fact: (fact.recorded_at, _RANK.get(fact.kind, 99), fact.place)
        )
        return [
            (
                self._when(one.recorded_at),
                self._text(_TITLES.get(one.kind, one.kind)),
                self.in_words(one),
            )
            for one in ranked
        ]

    def in_words(self, fact: RecordedFact) -> str:  # noqa: PLR0911  # a way out a kind
        """Return what happened in words."""
        data = fact.data
        match fact.kind:
            case "decision":
                return self._decision(fact)
            case "call":
                text = (
                    "%(stated)s; in a batch, attempt %(attempt)s"
                    if data["kind"] == "batch"
                    else "%(stated)s; alone, attempt %(attempt)s"
                )
                stated = self._stated(fact.status, data)
                return self._text(text, stated=stated, attempt=data["attempt"])
            case "answer":
                return self._answer(data)
            case "observation":
                return self._observation(fact)
            case "outcome":
                state = self._text(STATES.get(data["outcome"], data["outcome"]))
                why = self._why(data.get("message"))
                return f"{fact.status}: {_joined(state, why, self._coded(data))}"
            case "delivery":
                return self._text(
                    "%(topic)s, partition %(partition)s, offset %(offset)s",
                    **{name: data[name] for name in ("topic", "partition", "offset")},
                )
            case "act":
                return self.act(data)
            case "receipt":
                return self._receipt(data)
            case "breach":
                due = self._text("it was due %(at)s", at=self._when(data["due_at"]))
                return f"{fact.status}: {due}"
            case _:
                return _joined(*(f"{name} {value}" for name, value in data.items() if value))

    def act(self, data: Mapping[str, Any]) -> str:
        """Return what a person did, and what it changed."""
        by = self._text("%(act)s (by %(by)s)", act=self.act_name(data["act"]), by=data["by"])
        return _joined(by, *self.changes(data))

    def act_name(self, name: str) -> str:
        """Return what an act is called."""
        found = _OF_ONE.fullmatch(name)
        return name if found is None else f"{self._text(found[1])}{found[2] or ''}"

    def changes(self, data: Mapping[str, Any]) -> list[str]:
        """Return what an act changed."""
        before, after = data["before"], data["after"]
        return [
            f"{self._words(name)}: {self._value(before[name])} -> {self._value(after.get(name))}"
            if name in before
            else f"{self._words(name)}: {self._value(after[name])}"
            for name in {**before, **after}
            # What İYS answered is shown beside ours, and not as text.
            if before.get(name) != after.get(name) and name != ANSWERS
        ]

    def _value(self, value: object) -> str:
        match value:
            case None | []:
                return self._text("none")
            case list():
                return " ".join(str(self._shown(one)) for one in value)
            case str() if _INSTANT.match(value):
                return self._when(value)
            case _:
                return str(self._shown(value))

    def _receipt(self, data: Mapping[str, Any]) -> str:
        """Return what a sender asked about a recipient, and what the gate answered."""
        say = self._text
        campaign = say("campaign %(name)s, ", name=data["campaign"]) if data["campaign"] else ""
        given = (
            f"{self._words(name)} {data[name]}" for name in ("retailer_code", "basis") if data[name]
        )
        return _joined(
            say(
                "asked for %(campaign)s%(what)s by %(by)s",
                campaign=campaign,
                what=self._words(data["message_class"]),
                by=data["asked_by"],
            ),
            say(
                "answer %(answer)s",
                answer=self.answer(may_send=data["may_send"], reason=data["reason"]),
            ),
            *given,
            say("receipt %(id)s", id=data["receipt_id"]),
        )

    def _decision(self, fact: RecordedFact) -> str:
        say, event, violations = self._text, fact.data["event"], fact.data.get("violations") or ()
        stated = self._stated(fact.status, event)
        reason = fact.data["reason"]
        return _joined(
            say("%(stated)s, from %(origin)s", stated=stated, origin=event["origin"]),
            self.decided(reason),
            say("follows from event %(id)s", id=event["cause"]) if event.get("cause") else None,
            say("published to subscribers") if fact.data.get("opted_out") else None,
            *(say(sentence("not registrable: %(why)s", why=_violation(one))) for one in violations),
        )

    def decided(self, reason: str) -> str:
        """Return what a decision has made of an event, by its reason."""
        return self._text(DECISIONS.get(reason, reason))

    def _answer(self, data: Mapping[str, Any]) -> str:
        say, transaction = self._text, data.get("transaction_id")
        verdict, created = data["verdict"], data.get("creation_date")
        said = say(VERDICTS[verdict]) if verdict in VERDICTS else self._words(verdict)
        return _joined(
            # What a code says of a key without a record is not that it is registered already.
            None if data.get("code") in _CODES else said,
            self._coded(data),
            say("recorded %(at)s", at=self._when(created)) if created else None,
            say("transaction %(id)s", id=_short(transaction)) if transaction else None,
        )

    def _observation(self, fact: RecordedFact) -> str:
        say, data = self._text, fact.data
        by, created = data.get("by"), data.get("creation_date")
        whose = {"IYS": "by the citizen at İYS", "HS": "by a provider"}.get(
            data.get("stream") or ""
        )
        return _joined(
            self._stated(fact.status, data),
            say("recorded %(at)s", at=self._when(created)) if created else None,
            say("what we had sent") if data.get("ours") else (whose and say(whose)),
            say("received by %(path)s", path=self._words(by)) if by else None,
        )

    def _stated(self, status: str | None, data: Mapping[str, Any]) -> str:
        """Return the status, source and date of an event."""
        dated = data.get("consent_date")
        stated = f"{status or ''} {data.get('source') or ''}".strip()
        return self._since(stated, dated) if dated else stated

    def _state(self, entry: ConsentRow, suspended: str | None) -> str:
        due = entry.due_at if entry.state in WAITING else None
        return _joined(
            suspended or self._text(STATES.get(entry.state, entry.state)),
            self._why(entry.reason),
            self._coded({"code": entry.code}),
            self._text("due %(at)s", at=self._when(due)) if due else None,
        )

    def _permission(self, reason: str | None) -> str:
        return self._text(PERMISSIONS.get(reason or "", reason or "nothing is known"))

    def _since(self, status: str | None, at: datetime | str | None) -> str:
        what = self._text("nothing") if status is None else status
        return self._text("%(what)s of %(at)s", what=what, at=self._when(at)) if at else what

    def _coded(self, data: Mapping[str, Any]) -> str | None:
        code: str | None = data.get("code")
        return self._text(_CODES[code]) if code in _CODES else code or None

    def _why(self, word: str | None) -> str | None:
        return None if word == ActionReason.SETTLED else self._words(word)

    def _words(self, word: str | None) -> str | None:
        return self._text(word.replace("-", " ").replace("_", " ")) if word else None


def _violation(found: Mapping[str, str]) -> Sentence:
    """Return a violation as the history has it, with what it is called in Turkish."""
    code, reason = found["code"], found["reason"]
    turkish = REASONS.get(code, (reason, reason))[1]
    said = Violation(field="", code=code, reason=reason, reason_tr=turkish)
    return sentence("%(why)s (%(code)s)", why=said, code=code)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _joined(*parts: str | None) -> str:
    return "; ".join(part for part in parts if part)
