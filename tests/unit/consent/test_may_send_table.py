"""Every case of "may I send?" against an oracle."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from izin.consent.may_send import CollectedConsent, Permission, PermissionReason, may_send
from izin.consent.message_classes import CLASSES, MessageClass, MessageKind
from izin.consent.model import RecipientType, Status
from izin.consent.next_action import Registered, RegisteredState
from tests.support.builders import NOON

RETS = {
    "never": None,
    "before": NOON - timedelta(seconds=1),
    "same": NOON,
    "after": NOON + timedelta(seconds=1),
}


class Question(NamedTuple):
    """A combination of everything that the permission depends on."""

    message: MessageClass
    recipient: str
    desired: str | None
    registered: str
    verified: bool
    fresh: bool
    latest_ret: str
    dated: bool
    by_citizen: bool
    collected: str


def questions() -> Iterator[Question]:
    """Yield every combination."""
    yes_or_no = (True, False)
    yield from map(
        Question._make,
        product(
            MessageClass,
            ("BIREYSEL", "TACIR"),
            ("ONAY", "RET", None),
            ("ONAY", "RET", "NONE", "NOT_ONAY", "UNKNOWN"),
            yes_or_no,
            yes_or_no,
            RETS,
            yes_or_no,
            yes_or_no,
            ("none", "pending", "void"),
        ),
    )


def answered(question: Question) -> Permission:
    """Return what the law answers."""
    stated = NOON if question.dated else None
    return may_send(
        message_class=question.message,
        recipient_type=RecipientType(question.recipient),
        desired=None if question.desired is None else Status(question.desired),
        latest_ret_at=RETS[question.latest_ret],
        registered=RegisteredState(
            value=Registered(question.registered),
            creation_date=stated,
            consent_date=stated,
            from_iys=question.by_citizen,
        ),
        verified=question.verified,
        fresh=question.fresh,
        collected=CollectedConsent(question.collected),
    )


def oracle(question: Question) -> tuple[bool, str]:
    """Return the answer of the law: the first rule that applies."""
    promotes = question.message in {"commercial", "greeting", "satisfaction-survey"}
    onay = question.registered == "ONAY"
    merchant = question.recipient == "TACIR"
    later_than_every_ret = question.latest_ret == "never" or (
        question.dated and question.latest_ret == "before"
    )
    return next(
        (allowed, reason)
        for holds, allowed, reason in (
            (not promotes, True, "exempt"),
            ("RET" in {question.desired, question.registered}, False, "opted-out"),
            (onay and not later_than_every_ret, False, "opted-out"),
            (not question.fresh, False, "stale"),
            (onay and question.verified, True, "registered"),
            (question.collected == "pending", False, "awaiting-iys"),
            (question.collected == "void", False, "void"),
            (question.registered == "NONE" and merchant, False, "register-first"),
            (True, False, "not-registered"),
        )
        if holds
    )


def test_every_case_is_answered_as_the_law_says():
    """Class, recipient type, desired, registered, verified, fresh, latest RET, date, by whom."""
    asked = list(questions())
    assert len(asked) == len(MessageClass) * 2 * 3 * 5 * 2 * 2 * 4 * 2 * 2 * 3
    wrong = [
        one for one in asked if (answered(one).may_send, str(answered(one).reason)) != oracle(one)
    ]
    assert wrong == []
    assert {answered(one).reason for one in asked} == set(PermissionReason)


def test_information_is_permitted_whatever_is_registered():
    """m.6/1-2, m.6/5: an opt-out concerns commercial messages, and İYS need not be queried."""
    exempt = [one for one in questions() if CLASSES[one.message].kind is MessageKind.EXEMPT]
    assert exempt
    assert {answered(one) for one in exempt} == {
        Permission(may_send=True, reason=PermissionReason.EXEMPT)
    }


def test_every_message_class_has_its_rule():
    """Each class has its article and sentence; the default class is the strict one."""
    assert set(CLASSES) == set(MessageClass)
    for rule in CLASSES.values():
        assert "m." in rule.article
        assert rule.sentence.endswith(".")
    commercial = {one for one in MessageClass if CLASSES[one].kind is MessageKind.COMMERCIAL}
    assert commercial == {MessageClass.COMMERCIAL, MessageClass.GREETING, MessageClass.SURVEY}
    unsaid = may_send(
        recipient_type=RecipientType.BIREYSEL,
        desired=Status.RET,
        latest_ret_at=NOON,
        registered=RegisteredState(value=Registered.RET),
        verified=True,
    )
    assert unsaid == Permission(may_send=False, reason=PermissionReason.OPTED_OUT)


INSTANTS = st.none() | st.integers(-3, 3).map(lambda seconds: NOON + timedelta(seconds=seconds))


@given(
    st.sampled_from([one for one in MessageClass if CLASSES[one].kind is MessageKind.COMMERCIAL]),
    st.sampled_from(RecipientType),
    st.sampled_from([None, *Status]),
    INSTANTS,
    st.builds(
        RegisteredState,
        value=st.sampled_from(Registered),
        creation_date=INSTANTS,
        consent_date=INSTANTS,
        from_iys=st.booleans(),
    ),
    st.tuples(st.booleans(), st.booleans()),
)
def test_commercial_message_at_the_latest_ret_is_denied(  # noqa: PLR0917 - hypothesis gives them by position
    message: MessageClass,
    recipient: RecipientType,
    desired: Status | None,
    latest_ret_at: datetime | None,
    registered: RegisteredState,
    known: tuple[bool, bool],
):
    """Of an ONAY and a RET the later counts, and in a shared second the RET."""
    answer = may_send(
        message_class=message,
        recipient_type=recipient,
        desired=desired,
        latest_ret_at=latest_ret_at,
        registered=registered,
        verified=known[0],
        fresh=known[1],
    )
    if not answer.may_send:
        return
    assert all(known)
    assert desired is not Status.RET
    if latest_ret_at is not None:
        assert registered.value is Registered.ONAY
        given_at = registered.creation_date if registered.from_iys else registered.consent_date
        assert given_at is not None
        assert given_at > latest_ret_at
