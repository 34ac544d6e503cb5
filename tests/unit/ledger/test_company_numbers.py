"""The numbers of companies, and that the number of a natural person is never stored."""

from datetime import UTC, datetime

import pytest

from izin.ledger.record import CompanyNumberError, NationalIdError
from izin.ledger.registry.customers import (
    Customer,
    CustomerDetails,
    PersonKind,
    is_national_id,
    is_vkn,
    refuse_national_id,
)

VKN = "1234567890"
MERSIS = f"0{VKN}00015"
NATIONAL_ID = "10000000146"
"""Made up; its check digits are right."""


def a_customer() -> Customer:
    """Return a customer of whom nobody has said anything."""
    return Customer(
        customer_id="acme",
        name="Acme",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        brake_share=None,
        brake_at_least=None,
    )


def test_vkn_is_checked_by_its_last_digit() -> None:
    """Of ten numbers that differ in the last digit, one is right; 8450525470 is İYS's example."""
    assert [digit for digit in "0123456789" if is_vkn(VKN[:-1] + digit)] == ["0"]
    assert is_vkn("8450525470")
    assert not any(map(is_vkn, ("", "123456789", "12345678901", "12345678９0", "1234 67890")))


def test_national_id_is_known_by_its_check_digits() -> None:
    """57703411244 is İYS's example; a phone number, which begins with 0, is none."""
    assert is_national_id(NATIONAL_ID)
    assert is_national_id("57703411244")
    assert not any(map(is_national_id, ("10000000145", "05550000001", "1000000014", "")))


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("vkn", NATIONAL_ID),
        ("vkn", "100 000 00146"),
        ("mersis", NATIONAL_ID),
        ("mersis", f"{NATIONAL_ID}00012"),
        ("name", f"Ayşe Örnek {NATIONAL_ID}"),
    ],
)
@pytest.mark.parametrize("kind", [None, *PersonKind])
def test_national_id_is_refused_in_every_field(
    field: str, given: str, kind: PersonKind | None
) -> None:
    """For a natural person too; the message names the place and does not repeat the number."""
    with pytest.raises(NationalIdError, match="never stored") as refused:
        CustomerDetails(kind=kind, **{field: given})  # type: ignore[arg-type]
    assert NATIONAL_ID[:6] not in str(refused.value)


@pytest.mark.parametrize(
    ("field", "given", "said"),
    [
        ("vkn", "1234567891", "last digit"),
        ("vkn", "123456789", "10 digits"),
        ("vkn", "12345678901", "10 digits"),
        ("mersis", "012345678900015", "16 digits"),
        ("mersis", "0123456789100015", "no valid VKN"),
    ],
)
def test_number_that_cannot_be_right_is_refused(field: str, given: str, said: str) -> None:
    """With what is wrong with it."""
    with pytest.raises(CompanyNumberError, match=said):
        CustomerDetails(**{field: given})  # type: ignore[arg-type]


def test_details_keep_what_they_do_not_name() -> None:
    """Spaces and dashes between digits are left out; an empty text or 0 takes a value away."""
    said = CustomerDetails(
        kind=PersonKind.LEGAL, mersis="0123-4567-8900-0015", vkn=" 123 456 7890 ", iys_code=1
    )
    after = said.of(a_customer())
    assert (after.kind, after.mersis, after.vkn, after.iys_code) == ("legal", MERSIS, VKN, 1)
    named = CustomerDetails(name="Acme A.Ş.").of(after)
    assert (named.name, named.mersis) == ("Acme A.Ş.", MERSIS)
    emptied = CustomerDetails(mersis="", vkn="", iys_code=0).of(after)
    assert (emptied.kind, emptied.mersis, emptied.vkn, emptied.iys_code) == ("legal", *[None] * 3)


def test_text_without_a_national_id_is_returned() -> None:
    """Eleven digits within longer ones are none."""
    for text in ("Acme", f"9{NATIONAL_ID}", "+905550000001"):
        assert refuse_national_id(text, "the name") == text
