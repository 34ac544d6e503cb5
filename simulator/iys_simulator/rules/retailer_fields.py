"""Field rules of a retailer (bayi): all errors together, with 400.

Identity numbers are checked by their check digits: TCKN (11 digits) and VKN (10 digits). A MERSİS
number (16 digits) that begins with 0 contains a VKN after it. As a JSON number, as in İYS's own
example, it has lost the zeros it may begin with, so that only its range is checked.
"""

from collections.abc import Mapping
from typing import Final

from iys_simulator.errors.messages import REFUSALS
from iys_simulator.errors.responses import Error, error
from iys_simulator.rules.recipients import is_phone

PLACES: Final = {"city": ("H217", "H218", "H219"), "town": ("H220", "H221", "H222")}
"""The fields that hold a place, and their codes: missing, without a code, without a name."""

_STATUSES: Final = ("active", "suspended", "passive")
_LONGEST: Final = 255
_KNOWN: Final = frozenset(
    ["title", "mersis", "alias", "name", "tckn", "mobile", "tin", "city", "town", "status"]
)
_REQUIRED: Final = {"title": "H214", "name": "H215", "tckn": "H216"}
_PUNCTUATION: Final = frozenset(" .,&'’-/()")
_TCKN_LENGTH, _VKN_LENGTH, _MERSIS_LENGTH = 11, 10, 16


def retailer_errors(fields: Mapping[str, object]) -> list[Error]:
    """Return all errors of a new retailer's fields (H016, H017, H201, H214-H229, H243-H288)."""
    if not fields.keys() <= _KNOWN:
        return [error("H016")]
    errors = [error(code) for name, code in _REQUIRED.items() if _is_empty(fields.get(name))]
    for name in ("title", "alias", "name"):
        errors += _text_errors(name, fields.get(name))
    for name, codes in PLACES.items():
        errors += _place_errors(fields.get(name), *codes)
    if "status" in fields and fields["status"] not in _STATUSES:
        errors.append(error("H201"))
    if "mobile" in fields and not is_phone(fields["mobile"]):
        errors.append(error("H224"))
    errors += _number_errors(fields)
    return errors


def is_tckn(text: str) -> bool:
    """Return whether `text` is a TCKN, by its two check digits."""
    if not _are_digits(text, _TCKN_LENGTH) or text[0] == "0":
        return False
    digits = [int(digit) for digit in text]
    tenth = (sum(digits[0:9:2]) * 7 - sum(digits[1:8:2])) % 10
    return digits[9] == tenth and digits[10] == sum(digits[:10]) % 10


def is_vkn(text: str) -> bool:
    """Return whether `text` is a VKN, by its check digit."""
    if not _are_digits(text, _VKN_LENGTH):
        return False
    total = 0
    for place, digit in enumerate(text[:9]):
        shifted = (int(digit) + 9 - place) % 10
        product = shifted * 2 ** (9 - place) % 9
        total += 9 if shifted and not product else product
    return int(text[9]) == (10 - total % 10) % 10


def _number_errors(fields: Mapping[str, object]) -> list[Error]:
    errors = []
    tckn, tin = (str(fields.get(name) or "") for name in ("tckn", "tin"))
    if tckn and len(tckn) != _TCKN_LENGTH:
        errors.append(error("H226"))
    elif tckn and not is_tckn(tckn):
        errors.append(error("H225"))
    if not tin:
        errors.append(error("H288"))
    elif len(tin) not in (_VKN_LENGTH, _TCKN_LENGTH):
        errors.append(error("H244"))
    elif not (is_vkn(tin) or is_tckn(tin)):
        errors.append(error("H243"))
    return errors + (_mersis_errors(fields["mersis"]) if "mersis" in fields else [])


def _mersis_errors(value: object) -> list[Error]:
    if type(value) is int and 0 < value < 10**_MERSIS_LENGTH:
        return []
    if not isinstance(value, str) or len(value) != _MERSIS_LENGTH:
        return [error("H228")]
    return [] if _is_mersis(value) else [error("H227")]


def _is_mersis(text: str) -> bool:
    if not _are_digits(text, _MERSIS_LENGTH):
        return False
    return text[0] != "0" or is_vkn(text[1 : 1 + _VKN_LENGTH])


def _text_errors(name: str, value: object) -> list[Error]:
    if value is None or (value == "" and name in _REQUIRED):
        return []
    if not isinstance(value, str) or not value or not _is_alphanumeric(value):
        return [error("H229", message=REFUSALS["H229"].message.format(key=name))]
    if len(value) > _LONGEST:
        text = REFUSALS["H017"].message.format(key=name, limit=_LONGEST)
        return [error("H017", message=text)]
    return []


def _place_errors(value: object, missing: str, no_code: str, no_name: str) -> list[Error]:
    if not isinstance(value, dict) or not value:
        return [error(missing)]
    codes = {"code": no_code, "name": no_name}
    return [error(code) for key, code in codes.items() if _is_empty(value.get(key))]


def _is_empty(value: object) -> bool:
    return value is None or value == ""


def _is_alphanumeric(text: str) -> bool:
    return all(character.isalnum() or character in _PUNCTUATION for character in text)


def _are_digits(text: str, length: int) -> bool:
    return len(text) == length and text.isascii() and text.isdecimal()
