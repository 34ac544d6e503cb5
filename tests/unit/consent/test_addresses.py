"""Phone numbers and e-mail addresses: one form each, or a refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.consent import Violation, read_email, read_phone


@pytest.mark.parametrize(
    "text",
    [
        "+905550000001",
        "05550000001",
        "5550000001",
        "905550000001",
        "00905550000001",
        "+9005550000001",
        "9005550000001",
        "009005550000001",
        "0555 000 00 01",
        " (0555) 000-00-01 ",
        "+90 (555) 000.00.01",
        "+90 (0) 555 000 00 01",
        "0555\u00a0000\u201100\u201301",
        "\u202a+905550000001\u202c",
        "\ufeff5550000001",
    ],
)
def test_every_notation_of_a_turkish_mobile_is_one_number(text: str):
    """Every notation gives the same recipient."""
    assert read_phone(text) == "+905550000001"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0212 123 00 00", "+902121230000"),
        ("+902121230000", "+902121230000"),
        ("(312) 123 00 00", "+903121230000"),
        ("0850 123 00 00", "+908501230000"),
        # İYS's own examples: possible, though not assigned.
        ("+905992000000", "+905992000000"),
        ("+905813334455", "+905813334455"),
        ("+49 30 123456", "+4930123456"),
        ("0049 30 123456", "+4930123456"),
        ("+44 (0) 20 7946 0000", "+442079460000"),
        ("+1 202 555 0100", "+12025550100"),
    ],
)
def test_landlines_and_foreign_numbers(text: str, number: str):
    """Landlines are İYS's own example; foreign numbers need their plus."""
    assert read_phone(text) == number


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "H114"),
        (" - ", "H114"),
        ("9,05E+11", "IZIN-PHONE-AS-DECIMAL"),
        ("9.05555e+11", "IZIN-PHONE-AS-DECIMAL"),
        ("5E11", "IZIN-PHONE-AS-DECIMAL"),
        ("905550000001.0", "IZIN-PHONE-AS-DECIMAL"),
        ("555000000,0", "IZIN-PHONE-AS-DECIMAL"),
        ("+05543213232", "H121"),
        ("005550000001", "H121"),
        ("555000000", "H121"),
        ("05550000001234", "H121"),
        ("444 0 000", "H121"),
        ("+907550000001", "H121"),
        ("+90555000000", "H121"),
        ("+999123456", "H121"),
        ("+4412", "H121"),
        ("+3870056891672", "H121"),
        ("+1 1 202 555 0100", "H121"),
        ("+54 11 15 2345 6789", "H121"),
        ("+7 8 912 000 00 00", "H121"),
        ("0555 000 00 0x", "H121"),
        ("ada@example.com", "H121"),
        ("٠٥٥٥٠٠٠٠٠٠١", "H121"),
        ("0555 000 00 01/02", "H121"),
        ("+123456789012345", "H160"),
    ],
)
def test_number_that_cannot_be_dialled_is_refused(text: str, code: str):
    """Each refusal has the code that names what to correct."""
    found = read_phone(text)
    assert isinstance(found, Violation)
    assert found.code == code
    assert text.strip(" -") == "" or text not in found.reason


PHONES = st.one_of(
    st.from_regex(r"\A(\+|00)?(90)?0?[2-58][0-9]{8,10}\Z"),
    st.from_regex(r"\A\+[1-9][0-9]{5,14}\Z"),
    st.text(alphabet="+0123456789 ()-.eE,", max_size=20),
)


@given(PHONES)
def test_normalising_twice_changes_nothing(text: str):
    """What was normalised once is normalised for good."""
    number = read_phone(text)
    if isinstance(number, str):
        assert read_phone(number) == number
        assert number.startswith("+")
        assert len(number) <= 15


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
def test_normalising_an_address_twice_changes_nothing(text: str):
    """What was normalised once is normalised for good."""
    address = read_email(text)
    if isinstance(address, str):
        assert read_email(address) == address
        assert address.isascii()
        assert 6 <= len(address) <= 265
