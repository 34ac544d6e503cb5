"""The verdicts on the recipients of one question, by the state of the gate and the law.

What is the same for all recipients is found once, before the first; what differs comes from the
state at the moment of each verdict. The law decides (:func:`izin.consent.may_send.verdict`); of
equal facts, of which there are few, it is asked once.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final, NamedTuple

import orjson

from izin.consent import (
    SKEW,
    ConsentKey,
    MessageClass,
    RecipientType,
    Violation,
    maker,
    read_recipient,
)
from izin.consent.may_send import PermissionReason, unregistered, verdict
from izin.gate.question import AskedQuestion
from izin.gate.state import GateState
from izin.kafka.tables.api_keys import outside
from izin.runtime.settings import GateSettings
from izin.schemas.api_keys import ApiKey
from izin.schemas.may_send_api import ReceiptKind, digest_line

ACTIVE: Final = "active"
"""The status of a brand that may send."""
_AT_ONCE: Final = 100
"""So many verdicts are given before others in the event loop have their turn."""

_key = maker(ConsentKey)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedAnswer:
    """Whether a message may be sent; one for all recipients of whom the same is said."""

    may_send: bool
    reason: PermissionReason
    tail: bytes
    """The end of the JSON object of a recipient."""


class JudgedRecipient(NamedTuple):
    """A recipient with its verdict."""

    recipient: str | None
    """Normalised; None where it is no valid address."""
    verdict: SharedAnswer


def is_iys_current(pulled_at: datetime | None, now: datetime, most: timedelta) -> bool:
    """Whether İYS was pulled at most so long ago, by clocks that differ no more than they may."""
    return pulled_at is not None and -SKEW <= now - pulled_at <= most


class Judge:
    """Gives the verdicts of one question, which somebody with ``key`` asks at ``now``.

    ``is_reached``: the state reflects what the question demands.
    """

    def __init__(  # noqa: PLR0913  # what a verdict depends on
        self,
        state: GateState,
        question: AskedQuestion,
        key: ApiKey,
        settings: GateSettings,
        now: datetime,
        *,
        is_reached: bool,
    ) -> None:
        brand_code, channel = question.brand_code, question.channel
        brand = state.brand(brand_code)
        if brand is not None and outside(
            key, customer_id=brand.customer_id, brand_code=brand_code, channel=channel
        ):
            brand = None
        self.customer_id = key.customer_id if brand is None else brand.customer_id
        """Of the brand; of the key where it knows no such brand, and empty if it has several."""
        self.is_known = brand is not None
        """Whether the brand is the key's: of another one no receipt names whom it was
        asked about."""
        self._is_suspended = brand is not None and (
            brand.suspension is not None or brand.status != ACTIVE
        )
        self._is_current = is_reached and is_iys_current(
            state.iys_pulled_at(brand_code, channel), now, settings.iys_closes_after
        )
        # Not even an opt-out of a brand that is not the key's: nobody learns what others have.
        self._is_plain = question.is_exempt or brand is None
        """Whether it is the same for all recipients, whatever is known of them."""
        is_joined = (
            question.recipient_type is RecipientType.TACIR
            and self.customer_id not in settings.merchants_apart
        )
        self._types = (
            (RecipientType.TACIR, RecipientType.BIREYSEL)
            if is_joined
            else (question.recipient_type,)
        )
        """As whom an opt-out counts; the first is the one that was asked about."""
        self._needs_registration = self.customer_id not in settings.unregistered_merchants
        self._state = state
        self._question = question
        self._currents: dict[int, bool] = {}
        """By partition, whether it is current; looked up anew every so many verdicts."""
        self._partitions: list[int] = []
        """Of the only recipient, as each of the types: to find them takes as long as the rest."""

    def verdicts(self, texts: Sequence[str]) -> list[JudgedRecipient]:
        """Return the verdicts on some recipients, by what the state is now."""
        self._currents.clear()
        return [self._verdict(text) for text in texts]

    def _verdict(self, text: str) -> JudgedRecipient:
        question = self._question
        found = read_recipient(text, question.channel)
        if isinstance(found, Violation):
            reason = unregistered(question.recipient_type)
            return JudgedRecipient(None, _no_address(reason, found.code))
        if self._is_plain:
            return JudgedRecipient(
                found, self._by_facts(PermissionReason.NOT_REGISTERED, False, True, True)
            )
        state = self._state
        key = self._key(question.recipient_type, found)
        is_current = self._is_current and self._is_read(key, 0)
        key_facts = state.of_key(key)
        opted_out = key_facts.opted_out
        for number, one in enumerate(self._types[1:], 1):
            other = self._key(one, found)
            is_current = is_current and self._is_read(other, number)
            of_other = state.of_key(other)
            opted_out |= of_other.opted_out or of_other.reason is PermissionReason.OPTED_OUT
            # Where the latest record of the other cannot be read, it may be an opt-out.
            is_current = is_current and of_other.reason is not PermissionReason.STALE
        retailer = question.retailer_code
        covered = retailer is None or retailer in key_facts.retailers
        return JudgedRecipient(
            found, self._by_facts(key_facts.reason, opted_out, is_current, covered)
        )

    def partitions(self) -> set[int]:
        """Return the partitions on which the verdict of a question about one recipient depends."""
        (text,) = self._question.recipients
        found = read_recipient(text, self._question.channel)
        if not isinstance(found, Violation):
            of, keys = self._state.partition_of, (self._key(type_, found) for type_ in self._types)
            self._partitions = [of(key) for key in keys]
        return set(self._partitions)

    def _is_read(self, key: ConsentKey, number: int) -> bool:
        """Whether the partition of ``key`` is current, which is that of the type of ``number``."""
        known = self._partitions
        partition = known[number] if known else self._state.partition_of(key)
        found = self._currents.get(partition)
        if found is None:
            found = self._currents[partition] = self._state.is_current(partition)
        return found

    def _key(self, recipient_type: RecipientType, recipient: str) -> ConsentKey:
        return _key(
            brand_code=self._question.brand_code,
            channel=self._question.channel,
            recipient_type=recipient_type,
            recipient=recipient,
        )

    def _by_facts(
        self, published: PermissionReason, opted_out: bool, is_current: bool, covered: bool
    ) -> SharedAnswer:
        return _by_law(
            published,
            self._question.message_class,
            opted_out,
            self.is_known,
            is_current,
            self._is_suspended,
            covered,
            self._needs_registration,
        )


@cache
def _by_law(  # noqa: PLR0913, PLR0917  # the facts; by position, for the cache
    published: PermissionReason,
    message_class: MessageClass,
    opted_out: bool,
    known: bool,
    current: bool,
    suspended: bool,
    covered: bool,
    needs_registration: bool,
) -> SharedAnswer:
    permitted = verdict(
        published,
        message_class=message_class,
        opted_out=opted_out,
        known=known,
        current=current,
        suspended=suspended,
        covered=covered,
        needs_registration=needs_registration,
    )
    return _said(permitted.reason, permitted.may_send)


@cache
def _no_address(reason: PermissionReason, code: str) -> SharedAnswer:
    return _said(reason, False, violation=code)


def _said(reason: PermissionReason, may_send: bool, **more: str) -> SharedAnswer:
    text = orjson.dumps({"may_send": may_send, "reason": str(reason), **more})
    return SharedAnswer(may_send=may_send, reason=reason, tail=b"," + text[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """The verdicts of one question, in its order."""

    recipients: Sequence[JudgedRecipient]
    """Empty where no receipt of each was wanted: they take room."""
    json: Sequence[bytes]
    """Their JSON objects with commas between them, in some parts."""
    reasons: Mapping[PermissionReason, int]
    """How many recipients got which reason."""
    digest: str | None
    """SHA-256, in hexadecimal digits, over a line for each: canonical key, tab, reason. In place of
    a recipient that is no valid address is what was given. None where no receipt was wanted."""


async def judge_all(judge: Judge, question: AskedQuestion) -> Verdicts:
    """Return the verdicts of ``question``; between some of them, others have their turn."""
    kept: list[JudgedRecipient] = []
    parts: list[bytes] = []
    reasons: dict[PermissionReason, int] = {}
    hashed = None if question.receipt is None else hashlib.sha256()
    is_each_kept = question.receipt is ReceiptKind.DECISION
    start = f"{question.brand_code}/{question.channel}/{question.recipient_type}/"
    for at in range(0, len(question.recipients), _AT_ONCE):
        if at:
            await asyncio.sleep(0)
            parts.append(b",")
        texts = question.recipients[at : at + _AT_ONCE]
        found = judge.verdicts(texts)
        if is_each_kept:
            kept += found
        for one in found:
            reason = one.verdict.reason
            reasons[reason] = reasons.get(reason, 0) + 1
        parts.append(
            b",".join(
                [
                    b'{"recipient":' + orjson.dumps(text) + one.verdict.tail
                    for text, one in zip(texts, found, strict=True)
                ]
            )
        )
        if hashed is not None:
            for text, one in zip(texts, found, strict=True):
                recipient = text if one.recipient is None else one.recipient
                hashed.update(digest_line(f"{start}{recipient}", one.verdict.reason))
    return Verdicts(
        recipients=kept,
        json=parts,
        reasons=reasons,
        digest=None if hashed is None else hashed.hexdigest(),
    )
