"""The numbers of companies: MERSİS (16 digits) and VKN (10 digits), with their check digits.

The number of a natural person, the T.C. kimlik numarası, is personal data that İYS's calls do not
need: it is never stored. The MERSİS number of a natural person begins with it, and is not stored
either; such a customer is registered by its VKN. The check of MERSİS is İYS's own (description
1.1.0): behind a leading zero stands a valid VKN.
"""

import re

from izin.sinks.record.errors import CompanyNumberError, NationalIdError

MERSIS_DIGITS = 16
VKN_DIGITS = 10
_ID_DIGITS = 11
_ID = re.compile(rf"(?<!\d)\d{{{_ID_DIGITS}}}(?!\d)", re.ASCII)


def is_vkn(digits: str) -> bool:
    """Return whether ``digits`` are ten, and the last is their check digit."""
    if not _are_digits(digits, VKN_DIGITS):
        return False
    total = 0
    for place, digit in enumerate(digits[:-1]):
        shifted = (int(digit) + 9 - place) % 10
        weighted = shifted * 2 ** (9 - place) % 9
        total += 9 if shifted and not weighted else weighted
    return int(digits[-1]) == -total % 10


def is_national_id(digits: str) -> bool:
    """Return whether ``digits`` are the eleven of a natural person (T.C. kimlik numarası)."""
    if not _are_digits(digits, _ID_DIGITS) or digits[0] == "0":
        return False
    numbers = [int(digit) for digit in digits]
    tenth = (sum(numbers[0:9:2]) * 7 - sum(numbers[1:8:2])) % 10
    return numbers[9:] == [tenth, (sum(numbers[:9]) + tenth) % 10]


def refuse_national_id(text: str, what: str) -> str:
    """Return ``text``; one with the number of a natural person is refused. ``what`` names it.

    Raises:
        NationalIdError: it has such a number; the message does not repeat it.
    """
    if any(map(is_national_id, _ID.findall(text))):
        raise NationalIdError(what)
    return text


def read_vkn(text: str) -> str:
    """Return the ten digits of a VKN; spaces between them are left out.

    Raises:
        CompanyNumberError: it has other than ten digits, or its check digit is wrong.
        NationalIdError: it is the number of a natural person.
    """
    digits = refuse_national_id("".join(text.split()), "the VKN")
    if not _are_digits(digits, VKN_DIGITS):
        raise CompanyNumberError("the VKN", f"it must have {VKN_DIGITS} digits")
    if not is_vkn(digits):
        raise CompanyNumberError("the VKN", "its last digit does not fit the others")
    return digits


def read_mersis(text: str) -> str:
    """Return the sixteen digits of a MERSİS number; spaces and dashes are left out.

    Raises:
        CompanyNumberError: it has other than sixteen digits, or the VKN in it is wrong.
        NationalIdError: it is, or begins with, the number of a natural person.
    """
    what = "the MERSİS number"
    digits = refuse_national_id("".join(text.replace("-", " ").split()), what)
    if not _are_digits(digits, MERSIS_DIGITS):
        raise CompanyNumberError(what, f"it must have {MERSIS_DIGITS} digits")
    if is_national_id(digits[:_ID_DIGITS]):
        raise NationalIdError(what)
    if digits[0] == "0" and not is_vkn(digits[1 : 1 + VKN_DIGITS]):
        raise CompanyNumberError(what, "behind its leading zero stands no valid VKN")
    return digits


def _are_digits(text: str, count: int) -> bool:
    return len(text) == count and text.isascii() and text.isdecimal()
