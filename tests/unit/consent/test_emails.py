import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.consent.emails import read_email
from izin.consent.violations import Violation


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada@Example.COM ", "ada@example.com"),
        ("ada+news@example.com", "ada+news@example.com"),
        ("_-.ada..b@mail.example.com", "_-.ada..b@mail.example.com"),
        ("a@bb.cc", "a@bb.cc"),
        ("a@ex--ample.com", "a@ex--ample.com"),
        ("a@1.com", "a@1.com"),
        ("a" * 253 + "@example.com", "a" * 253 + "@example.com"),
    ],
)
def test_addresses_are_in_the_form_of_iys(text: str, address: str):
    """Lower case, and nothing else is changed."""
    assert read_email(text) == address


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "H114"),
        ("  ", "H114"),
        ("ada", "H120"),
        ("a@b.c", "H120"),
        ("ada@example", "H120"),
        ("ada@-example.com", "H120"),
        ("ada@example-.com", "H120"),
        ("ada@exam_ple.com", "H120"),
        ("ada@example.c0m", "H120"),
        ("ada lovelace@example.com", "H120"),
        ("ada@@example.com", "H120"),
        ("ada(x)@example.com", "H120"),
        ("ışık@example.com", "H120"),
        ("İada@example.com", "H120"),
        ("ada@example.com\n.tr", "H120"),
        ("a" * 254 + "@example.com", "H120"),
        ("+905550000001", "H120"),
    ],
)
def test_address_that_iys_refuses_is_refused(text: str, code: str):
    """No transliteration, no repair: another spelling may be another person."""
    found = read_email(text)
    assert isinstance(found, Violation)
    assert found.code == code


@given(st.one_of(st.emails(), st.text(alphabet="aZ09.@-_+ İı", max_size=40)))
def test_normalising_twice_changes_nothing(text: str):
    """What was normalised once is normalised for good."""
    address = read_email(text)
    if isinstance(address, str):
        assert read_email(address) == address
        assert address.isascii()
        assert 6 <= len(address) <= 265
