"""A key as a person writes it, in the form that keys have."""

from dataclasses import replace

import pytest

from izin.consent.enums import Channel
from izin.consent.fields import normalised
from tests.support.builders import a_key

PHONE = a_key(recipient="+905550000001")
EMAIL = replace(PHONE, channel=Channel.EPOSTA, recipient="ada@example.com")


@pytest.mark.parametrize("text", ["+905550000001", "0555 000 00 01", "(555) 000-00-01"])
def test_phone_in_any_notation_is_the_same_key(text: str):
    """Calls and text messages."""
    assert normalised(replace(PHONE, recipient=text)) == PHONE


def test_address_in_capitals_is_the_same_key():
    """With spaces around it too."""
    assert normalised(replace(EMAIL, recipient=" Ada@Example.com ")) == EMAIL


@pytest.mark.parametrize("key", [replace(PHONE, recipient="12"), replace(EMAIL, channel="MESAJ")])
def test_what_is_no_recipient_of_the_channel_stays(key: object):
    """Nothing is known of it then."""
    assert normalised(key) == key
