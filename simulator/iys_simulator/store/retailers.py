"""Retailers (bayi) of brands: what one is, and which fields İYS refuses.

A brand's retailers are those added by its method and those the admin API names by code alone. All
errors of a retailer's fields come together, with 400. Identity numbers are checked by their check
digits: TCKN (11), VKN (10); a MERSİS number (16) that begins with 0 holds a VKN behind it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from iys_simulator.errors.messages import REFUSALS
from iys_simulator.errors.responses import Error, error
from iys_simulator.rules.fields import is_phone
from iys_simulator.store.accounts import Brand
from iys_simulator.store.database import Database
from iys_simulator.store.documents import Shelf

STATUSES: Final = ("active", "suspended", "passive")
PER_BRAND: Final = 3000
_LONGEST: Final = 255
_FIRST_CODE: Final = 10_000_000
_CODES: Final = 90_000_000
_KNOWN: Final = frozenset(
    ["title", "mersis", "alias", "name", "tckn", "mobile", "tin", "city", "town", "status"]
)
_REQUIRED: Final = {"title": "H214", "name": "H215", "tckn": "H216"}
_PLACES: Final = {"city": ("H217", "H218", "H219"), "town": ("H220", "H221", "H222")}
_PUNCTUATION: Final = frozenset(" .,&'’-/()")
_TCKN_LENGTH, _VKN_LENGTH, _MERSIS_LENGTH = 11, 10, 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Retailer:
    """A retailer; texts are as sent, empty where they were left out."""

    code: int
    title: str
    name: str = ""
    tckn: str = ""
    tin: str = ""
    city: Mapping[str, str]
    town: Mapping[str, str]
    mersis: str = ""
    alias: str = ""
    mobile: str = ""
    status: str = "active"

    def answer(self, access_count: int) -> dict[str, object]:
        """Give the retailer as İYS tells it, with the number of consents it has access to."""
        fields = {name: value for name, value in asdict(self).items() if value and name != "code"}
        return {**fields, "retailerAccessCount": access_count, "retailerCode": self.code}


class RetailerBook:
    """The retailers of all brands."""

    def __init__(self, database: Database) -> None:
        self._retailers = Shelf(database, "retailer", tuple[int, int], Retailer)

    def of(self, brand: Brand) -> list[Retailer]:
        """Give the brand's retailers by code."""
        named = {code: _unknown(code) for code in brand.retailers}
        return [found for _, found in sorted((named | self._of(brand)).items())]

    def find(self, brand: Brand, code: int) -> Retailer | None:
        """Give one retailer of the brand."""
        found = self._retailers.get((brand.code, code))
        return _unknown(code) if found is None and code in brand.retailers else found

    def has(self, brand: Brand, code: object) -> bool:
        """Whether `code` is a retailer of the brand."""
        return isinstance(code, int) and (
            code in brand.retailers or (brand.code, code) in self._retailers
        )

    def count(self, brand: Brand) -> int:
        """How many retailers the brand has."""
        return len(brand.retailers | self._of(brand).keys())

    def put(self, brand_code: int, retailer: Retailer) -> None:
        """Add or replace a retailer."""
        self._retailers[brand_code, retailer.code] = retailer

    def remove(self, brand_code: int, code: int) -> None:
        """Remove a retailer that was added by its method."""
        self._retailers.pop((brand_code, code), None)

    def clear(self) -> None:
        """Forget all retailers."""
        self._retailers.clear()

    def free_code(self, brand: Brand) -> int:
        """Give an eight-digit code no retailer of the brand has; the same for the same history."""
        digest = hashlib.sha256(f"{brand.code}/{self.count(brand)}".encode()).digest()
        place = int.from_bytes(digest[:8], "big")
        while self.has(brand, _FIRST_CODE + place % _CODES):
            place += 1
        return _FIRST_CODE + place % _CODES

    def clash(self, brand: Brand, fields: Mapping[str, object]) -> list[Error]:
        """Give H230, H231 or H253 where `fields` repeat another retailer's MERSİS or TCKN."""
        errors: list[Error] = []
        for name, code, word in (("mersis", "H230", "mersis"), ("tckn", "H231", "kimlik")):
            value = str(fields.get(name, ""))
            twin = next(
                (one for one in self.of(brand) if value and _value(one, name) == value), None
            )
            if twin is not None and twin.status == "passive":
                errors.append(error("H253", message=REFUSALS["H253"].message.format(key=word)))
            elif twin is not None:
                errors.append(error(code))
        return errors

    def _of(self, brand: Brand) -> dict[int, Retailer]:
        found = self._retailers.items()
        return {code: retailer for (owner, code), retailer in found if owner == brand.code}


def retailer_errors(fields: Mapping[str, object]) -> list[Error]:
    """Give all errors of a new retailer's fields (H016, H017, H201, H214-H229, H243-H288)."""
    if not fields.keys() <= _KNOWN:
        return [error("H016")]
    errors = [error(code) for name, code in _REQUIRED.items() if _is_empty(fields.get(name))]
    for name in ("title", "alias", "name"):
        errors += _text_errors(name, fields.get(name))
    for name, codes in _PLACES.items():
        errors += _place_errors(fields.get(name), *codes)
    if "status" in fields and fields["status"] not in STATUSES:
        errors.append(error("H201"))
    if "mobile" in fields and not is_phone(fields["mobile"]):
        errors.append(error("H224"))
    errors += _number_errors(fields)
    return errors


def new_retailer(code: int, fields: Mapping[str, object]) -> Retailer:
    """Make a retailer of fields that have no errors."""
    texts = {name: str(fields[name]) for name in fields if name not in _PLACES}
    return Retailer(code=code, city=_place(fields["city"]), town=_place(fields["town"]), **texts)


def is_tckn(text: str) -> bool:
    """Whether `text` is an identity number by its two check digits."""
    if not _are_digits(text, _TCKN_LENGTH) or text[0] == "0":
        return False
    digits = [int(digit) for digit in text]
    tenth = (sum(digits[0:9:2]) * 7 - sum(digits[1:8:2])) % 10
    return digits[9] == tenth and digits[10] == sum(digits[:10]) % 10


def is_vkn(text: str) -> bool:
    """Whether `text` is a tax number by its check digit."""
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
    tckn, tin, mersis = (str(fields.get(name) or "") for name in ("tckn", "tin", "mersis"))
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
    if "mersis" in fields and len(mersis) != _MERSIS_LENGTH:
        errors.append(error("H228"))
    elif mersis and not _is_mersis(mersis):
        errors.append(error("H227"))
    return errors


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
    return all(letter.isalnum() or letter in _PUNCTUATION for letter in text)


def _are_digits(text: str, length: int) -> bool:
    return len(text) == length and text.isascii() and text.isdecimal()


def _place(value: object) -> dict[str, str]:
    place = value if isinstance(value, dict) else {}
    return {"name": str(place.get("name")), "code": str(place.get("code"))}


def _value(retailer: Retailer, name: str) -> str:
    return retailer.mersis if name == "mersis" else retailer.tckn


def _unknown(code: int) -> Retailer:
    place = {"name": "ISTANBUL", "code": "34"}
    town = {"name": "KADIKÖY", "code": "1"}
    return Retailer(code=code, title=f"Bayi {code}", city=place, town=town)
