"""Every case of "may I send?" against an oracle."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import product
from typing import Any, NamedTuple

import pytest
from hypothesis import given, strategies as st

from izin.consent import (
    CLASSES,
    MessageClass,
    MessageKind,
    RecipientType,
    Registered,
    RegisteredState,
    Status,
)
from izin.consent.may_send import (
    CollectedConsent,
    Permission,
    PermissionReason,
    may_send,
    unregistered,
    verdict,
)
from tests.support.builders import NOON

EARLIER = NOON - timedelta(hours=1)
HELD = RegisteredState(value=Registered.ONAY, creation_date=NOON, consent_date=NOON)
NOWHERE = RegisteredState(value=Registered.NONE, creation_date=NOON)


def ask(**overrides: object) -> tuple[bool, str]:
    """Return the permission for a key whose ONAY İYS holds, verified and fresh."""
    fields: dict[str, Any] = {
        "recipient_type": RecipientType.BIREYSEL,
        "desired": Status.ONAY,
        "latest_ret_at": None,
        "registered": HELD,
        "verified": True,
    }
    answer = may_send(**fields | overrides)
    return answer.may_send, answer.reason


def test_registered_onay_is_permitted():
    """m.5/3: what İYS reports counts, whether we knew of it before or not."""
    assert ask() == (True, PermissionReason.REGISTERED)
    assert ask(desired=None) == (True, PermissionReason.REGISTERED)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"desired": Status.RET}, PermissionReason.OPTED_OUT),
        ({"registered": RegisteredState(value=Registered.RET)}, "opted-out"),
        ({"registered": NOWHERE}, "not-registered"),
        ({"registered": RegisteredState(value=Registered.NOT_ONAY)}, "not-registered"),
        ({"registered": RegisteredState(value=Registered.UNKNOWN)}, "not-registered"),
        ({"verified": False}, PermissionReason.NOT_REGISTERED),
        ({"verified": False, "collected": CollectedConsent.PENDING}, "awaiting-iys"),
        ({"registered": NOWHERE, "collected": CollectedConsent.PENDING}, "awaiting-iys"),
        ({"registered": NOWHERE, "collected": CollectedConsent.VOID}, "void"),
        ({"latest_ret_at": NOON}, PermissionReason.OPTED_OUT),
        (
            {"latest_ret_at": EARLIER, "registered": RegisteredState(value=Registered.ONAY)},
            PermissionReason.OPTED_OUT,
        ),
    ],
)
def test_each_reason_of_a_denial_is_given(fields: dict[str, Any], reason: str):
    """Anything missing denies the message, with the reason."""
    assert ask(**fields) == (False, reason)


def test_instant_of_the_act_is_compared_not_of_its_upload():
    """An ONAY from before the RET stays before it, however late it was uploaded."""
    uploaded_late = RegisteredState(
        value=Registered.ONAY, creation_date=NOON + timedelta(days=1), consent_date=EARLIER
    )
    assert not ask(registered=uploaded_late, latest_ret_at=NOON)[0]
    at_iys = RegisteredState(
        value=Registered.ONAY,
        creation_date=NOON + timedelta(seconds=1),
        consent_date=EARLIER,
        from_iys=True,
    )
    assert ask(registered=at_iys, latest_ret_at=NOON)[0]


def test_merchant_whom_iys_does_not_have_is_registered_first():
    """6563 m.6/2: no consent is needed, but a refusal must be found at İYS before sending."""
    tacir = RecipientType.TACIR
    for verified in (True, False):
        answer = ask(recipient_type=tacir, registered=NOWHERE, verified=verified)
        assert answer == (False, PermissionReason.REGISTER_FIRST)
    assert ask(recipient_type=tacir, registered=NOWHERE, desired=Status.RET)[1] == "opted-out"
    assert ask(recipient_type=tacir) == (True, PermissionReason.REGISTERED)
    hidden = RegisteredState(value=Registered.NOT_ONAY)
    assert ask(recipient_type=tacir, registered=hidden) == (False, "not-registered")


RETS = {
    "never": None,
    "before": NOON - timedelta(seconds=1),
    "same": NOON,
    "after": NOON + timedelta(seconds=1),
}
COMMERCIAL = [one for one in MessageClass if CLASSES[one].kind is MessageKind.COMMERCIAL]


class Facts(NamedTuple):
    """A combination of everything that the ledger's answer depends on."""

    recipient: str
    desired: str | None
    registered: str
    verified: bool
    latest_ret: str
    dated: bool
    by_citizen: bool
    collected: str


class Moment(NamedTuple):
    """A combination of everything that holds only when it is asked."""

    message: MessageClass
    opted_out: bool
    known: bool
    current: bool
    suspended: bool
    covered: bool
    needs_registration: bool


YES_OR_NO = (True, False)


def facts() -> Iterator[Facts]:
    """Yield every combination."""
    yield from map(
        Facts._make,
        product(
            ("BIREYSEL", "TACIR"),
            ("ONAY", "RET", None),
            ("ONAY", "RET", "NONE", "NOT_ONAY", "UNKNOWN"),
            YES_OR_NO,
            RETS,
            YES_OR_NO,
            YES_OR_NO,
            ("none", "pending", "void"),
        ),
    )


def moments(classes: Iterable[MessageClass] = MessageClass) -> Iterator[Moment]:
    """Yield every combination, for messages of ``classes``."""
    yield from map(Moment._make, product(classes, *[YES_OR_NO] * 6))


def published_answer(one: Facts) -> Permission:
    """Return what the ledger answers."""
    stated = NOON if one.dated else None
    return may_send(
        recipient_type=RecipientType(one.recipient),
        desired=None if one.desired is None else Status(one.desired),
        latest_ret_at=RETS[one.latest_ret],
        registered=RegisteredState(
            value=Registered(one.registered),
            creation_date=stated,
            consent_date=stated,
            from_iys=one.by_citizen,
        ),
        verified=one.verified,
        collected=CollectedConsent(one.collected),
    )


def answered(reason: PermissionReason, moment: Moment) -> Permission:
    """Return what is answered at that moment."""
    return verdict(
        reason,
        message_class=moment.message,
        opted_out=moment.opted_out,
        known=moment.known,
        current=moment.current,
        suspended=moment.suspended,
        covered=moment.covered,
        needs_registration=moment.needs_registration,
    )


def oracle(one: Facts, moment: Moment) -> tuple[bool, str]:
    """Return the answer of the law: the first rule that applies."""
    promotes = moment.message in {"commercial", "greeting", "satisfaction-survey"}
    onay = one.registered == "ONAY"
    unregistered_merchant = one.registered == "NONE" and one.recipient == "TACIR"
    later_than_every_ret = one.latest_ret == "never" or (one.dated and one.latest_ret == "before")
    return next(
        (allowed, reason)
        for holds, allowed, reason in (
            (not promotes, True, "exempt"),
            (moment.opted_out, False, "opted-out"),
            ("RET" in {one.desired, one.registered}, False, "opted-out"),
            (onay and not later_than_every_ret, False, "opted-out"),
            (not moment.known, False, "unknown"),
            (not moment.current, False, "stale"),
            (moment.suspended, False, "suspended"),
            (not moment.covered, False, "retailer-not-covered"),
            (onay and one.verified, True, "registered"),
            (one.collected == "pending", False, "awaiting-iys"),
            (one.collected == "void", False, "void"),
            (unregistered_merchant, not moment.needs_registration, "register-first"),
            (True, False, "not-registered"),
        )
        if holds
    )


def test_every_case_is_answered_as_the_law_says():
    """Whatever the ledger knows of a key, at whatever moment, for whatever message it is asked."""
    known, asked = list(facts()), list(moments([MessageClass.COMMERCIAL, MessageClass.INVOICE]))
    assert (len(known), len(asked)) == (2 * 3 * 5 * 2 * 4 * 2 * 2 * 3, 2 * 2**6)
    wrong, reasons = [], set()
    for one in known:
        reason = published_answer(one).reason
        for moment in asked:
            answer = answered(reason, moment)
            reasons.add(answer.reason)
            if (answer.may_send, answer.reason) != oracle(one, moment):
                wrong.append((one, moment))
    assert wrong == []
    assert reasons == set(PermissionReason)


def test_ledger_and_gate_agree_on_a_commercial_message():
    """What is published is what is answered where nothing else holds at the moment."""
    usual = Moment(MessageClass.COMMERCIAL, False, True, True, False, True, True)
    for one in facts():
        published = published_answer(one)
        assert answered(published.reason, usual) == published


def test_information_is_permitted_whatever_is_registered():
    """m.6/1-2, m.6/5: an opt-out concerns commercial messages, and İYS need not be queried."""
    exempt = [one for one in moments() if CLASSES[one.message].kind is MessageKind.EXEMPT]
    assert exempt
    assert {answered(reason, one) for reason in PermissionReason for one in exempt} == {
        Permission(may_send=True, reason=PermissionReason.EXEMPT)
    }


def test_only_a_consent_at_iys_permits_a_commercial_message():
    """But for a merchant whose registration counsel has found unnecessary."""
    permitted = {
        (str(reason), one.needs_registration)
        for reason in PermissionReason
        for one in moments(COMMERCIAL)
        if answered(reason, one).may_send
    }
    assert permitted == {("registered", True), ("registered", False), ("register-first", False)}


def test_key_of_which_nothing_is_known_permits_nothing():
    """A merchant is to be registered first, anybody else must consent."""
    assert unregistered(RecipientType.TACIR) is PermissionReason.REGISTER_FIRST
    assert unregistered(RecipientType.BIREYSEL) is PermissionReason.NOT_REGISTERED


def test_every_message_class_has_its_rule():
    """Each class has its article and sentence; the default class is the strict one."""
    assert set(CLASSES) == set(MessageClass)
    for rule in CLASSES.values():
        assert "m." in rule.article
        assert rule.sentence.endswith(".")
    assert set(COMMERCIAL) == {MessageClass.COMMERCIAL, MessageClass.GREETING, MessageClass.SURVEY}
    unsaid = verdict(
        PermissionReason.OPTED_OUT, opted_out=False, known=True, current=True, suspended=False
    )
    assert unsaid == Permission(may_send=False, reason=PermissionReason.OPTED_OUT)


INSTANTS = st.none() | st.integers(-3, 3).map(lambda seconds: NOON + timedelta(seconds=seconds))


@given(
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
    st.booleans(),
)
def test_commercial_message_at_the_latest_ret_is_denied(
    recipient: RecipientType,
    desired: Status | None,
    latest_ret_at: datetime | None,
    registered: RegisteredState,
    verified: bool,
):
    """Of an ONAY and a RET the later counts, and in a shared second the RET."""
    answer = may_send(
        recipient_type=recipient,
        desired=desired,
        latest_ret_at=latest_ret_at,
        registered=registered,
        verified=verified,
    )
    if not answer.may_send:
        return
    assert verified
    assert desired is not Status.RET
    assert registered.value is Registered.ONAY
    if latest_ret_at is not None:
        given_at = registered.creation_date if registered.from_iys else registered.consent_date
        assert given_at > latest_ret_at
