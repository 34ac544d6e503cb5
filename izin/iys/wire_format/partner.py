"""What İYS lists for business partners: the brands granted to them (reference 2.9).

Codes are texts in one of İYS's lists and numbers in the other. The right to a channel is ``write``
where it may be written. İYS's page names reading too, but shows no value for it: anything else than
``write`` reads, and a channel that is absent, or said to have none, has no right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from izin.consent.model import Channel
from izin.iys.wire_format.json_reader import JsonReader, UnreadableItem, read_each

_NO_RIGHT = frozenset({"false", "none", "no", "0"})


class Right(StrEnum):
    """What a partner may do with a channel of a brand; who may write may read."""

    WRITE = "write"
    READ = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedBrand:
    """A brand that a provider has granted to a business partner."""

    brand_code: int
    iys_code: int
    name: str
    title: str
    """The name of the provider in the trade register."""
    is_master: bool
    rights: Mapping[Channel, Right]
    """A channel that is absent may be neither written nor read."""
    agreement_control: bool
    """Whether the partner may read the daily files (mutabakat)."""
    via_control: bool

    @classmethod
    def read(cls, reader: JsonReader) -> GrantedBrand:
        """Return the brand in an item of the list."""
        rights = {channel: _right(reader.text_or_none(str(channel))) for channel in Channel}
        return cls(
            brand_code=reader.integer("brandCode"),
            iys_code=reader.integer("iysCode"),
            name=reader.text_or_none("name") or "",
            title=reader.text_or_none("title") or "",
            is_master=bool(reader.boolean_or_none("master")),
            rights={channel: right for channel, right in rights.items() if right is not None},
            agreement_control=bool(reader.boolean_or_none("agreementControl")),
            via_control=bool(reader.boolean_or_none("viaControl")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedBrands:
    """The brands granted to a partner: a page of the list, or all of it."""

    brands: tuple[GrantedBrand, ...]
    unreadable: tuple[UnreadableItem, ...]
    total: int
    """How many brands the whole list has, as İYS counts them."""

    @property
    def size(self) -> int:
        """How many brands are here, the unreadable ones included."""
        return len(self.brands) + len(self.unreadable)

    @property
    def is_complete(self) -> bool:
        """Whether every brand of the list is here and was read: only then is one that is not here
        no longer granted.
        """
        return not self.unreadable and len(self.brands) == self.total

    @classmethod
    def read(cls, reader: JsonReader) -> GrantedBrands:
        """Return the page in a response."""
        brands, unreadable = read_each(reader.raw("list") or [], GrantedBrand.read)
        pagination = reader.object_or_none("pagination")
        total = None if pagination is None else pagination.integer_or_none("totalCount")
        size = len(brands) + len(unreadable)
        return cls(brands=brands, unreadable=unreadable, total=size if total is None else total)


def _right(text: str | None) -> Right | None:
    if text is None or text.lower() in _NO_RIGHT:
        return None
    return Right.WRITE if text.lower() == Right.WRITE else Right.READ
