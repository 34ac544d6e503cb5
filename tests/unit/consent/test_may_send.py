from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.consent import RecipientType, Registered, RegisteredState, Status
from izin.consent.may_send import CollectedConsent, PermissionReason, may_send
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


def test_onay_newer_than_the_latest_ret_is_permitted():
    """A consent given after an opt-out permits again."""
    assert ask(latest_ret_at=EARLIER)[0]


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


@given(
    st.sampled_from(RecipientType),
    st.sampled_from([None, *Status]),
    st.sampled_from([None, EARLIER, NOON]),
    st.sampled_from([HELD, *(RegisteredState(value=value) for value in Registered)]),
    st.booleans(),
)
def test_unknown_or_missing_state_is_denied(
    recipient_type: RecipientType,
    desired: Status | None,
    latest_ret_at: datetime | None,
    registered: RegisteredState,
    verified: bool,
):
    """A permission meets all its conditions."""
    answer = may_send(
        recipient_type=recipient_type,
        desired=desired,
        latest_ret_at=latest_ret_at,
        registered=registered,
        verified=verified,
    )
    if answer.may_send:
        assert verified
        assert desired is not Status.RET
        assert registered.value is Registered.ONAY
        assert latest_ret_at is None or latest_ret_at < NOON


def test_reasons_of_permission_and_denial_are_distinct():
    """A subscriber can distinguish them without the boolean."""
    yes, no = set(), set()
    for desired, registered, verified in product([None, *Status], [HELD, NOWHERE], [True, False]):
        for recipient_type in RecipientType:
            allowed, reason = ask(
                recipient_type=recipient_type,
                desired=desired,
                registered=registered,
                verified=verified,
            )
            (yes if allowed else no).add(reason)
    assert not yes & no
