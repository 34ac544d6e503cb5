"""Retailers (bayi) of brands.

A brand's retailers are those added through İYS's API and those that the admin API names by code.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from iys_simulator.errors.messages import REFUSALS
from iys_simulator.errors.responses import Error, error
from iys_simulator.rules.retailer_fields import PLACES
from iys_simulator.store.accounts import Brand
from iys_simulator.store.database import Database
from iys_simulator.store.documents import DocumentMap

PER_BRAND: Final = 3000
"""How many retailers a brand may have (H067)."""

_FIRST_CODE: Final = 10_000_000
_CODES: Final = 90_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Retailer:
    """A retailer; texts are as sent, empty where they were omitted."""

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

    def as_response(self, access_count: int) -> dict[str, object]:
        """Return the retailer as İYS shows it, with the number of consents it may use."""
        fields = {name: value for name, value in asdict(self).items() if value and name != "code"}
        return {**fields, "retailerAccessCount": access_count, "retailerCode": self.code}


class RetailerStore:
    """The retailers of all brands."""

    def __init__(self, database: Database) -> None:
        self._retailers = DocumentMap(database, "retailer", tuple[int, int], Retailer)

    def of(self, brand: Brand) -> list[Retailer]:
        """Return the brand's retailers in order of their codes."""
        named = {code: _named_by_code(code) for code in brand.retailers}
        return [found for _, found in sorted((named | self._of(brand)).items())]

    def find(self, brand: Brand, code: int) -> Retailer | None:
        """Return one retailer of the brand, if there is one with this code."""
        found = self._retailers.get((brand.code, code))
        return _named_by_code(code) if found is None and code in brand.retailers else found

    def has(self, brand: Brand, code: object) -> bool:
        """Return whether `code` is a retailer of the brand."""
        return isinstance(code, int) and (
            code in brand.retailers or (brand.code, code) in self._retailers
        )

    def count(self, brand: Brand) -> int:
        """Return how many retailers the brand has."""
        return len(brand.retailers | self._of(brand).keys())

    def put(self, brand_code: int, retailer: Retailer) -> None:
        """Add or replace a retailer."""
        self._retailers[brand_code, retailer.code] = retailer

    def remove(self, brand_code: int, code: int) -> None:
        """Delete a retailer that was added through İYS's API."""
        self._retailers.pop((brand_code, code), None)

    def clear(self) -> None:
        """Delete all retailers."""
        self._retailers.clear()

    def free_code(self, brand: Brand) -> int:
        """Return an unused code of eight digits; the same history gives the same code."""
        digest = hashlib.sha256(f"{brand.code}/{self.count(brand)}".encode()).digest()
        place = int.from_bytes(digest[:8], "big")
        while self.has(brand, _FIRST_CODE + place % _CODES):
            place += 1
        return _FIRST_CODE + place % _CODES

    def clash(self, brand: Brand, fields: Mapping[str, object]) -> list[Error]:
        """Return H230, H231 or H253 where `fields` repeat another retailer's MERSİS or TCKN."""
        errors: list[Error] = []
        for name, code, word in (("mersis", "H230", "mersis"), ("tckn", "H231", "kimlik")):
            value = str(fields.get(name, ""))
            other = next(
                (one for one in self.of(brand) if value and _identity_number(one, name) == value),
                None,
            )
            if other is not None and other.status == "passive":
                errors.append(error("H253", message=REFUSALS["H253"].message.format(key=word)))
            elif other is not None:
                errors.append(error(code))
        return errors

    def _of(self, brand: Brand) -> dict[int, Retailer]:
        found = self._retailers.items()
        return {code: retailer for (owner, code), retailer in found if owner == brand.code}


def new_retailer(code: int, fields: Mapping[str, object]) -> Retailer:
    """Return a retailer made from fields that have no errors."""
    texts = {name: str(fields[name]) for name in fields if name not in PLACES}
    return Retailer(code=code, city=_place(fields["city"]), town=_place(fields["town"]), **texts)


def _place(value: object) -> dict[str, str]:
    place = value if isinstance(value, dict) else {}
    return {"name": str(place.get("name")), "code": str(place.get("code"))}


def _identity_number(retailer: Retailer, name: str) -> str:
    return retailer.mersis if name == "mersis" else retailer.tckn


def _named_by_code(code: int) -> Retailer:
    place = {"name": "ISTANBUL", "code": "34"}
    town = {"name": "KADIKÖY", "code": "1"}
    return Retailer(code=code, title=f"Bayi {code}", city=place, town=town)
