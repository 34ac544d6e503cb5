"""`offset` and `limit` of lists, and the codes that refuse them.

İYS uses the codes in two ways: its table and retailer access have H182 for an offset and H183 for a
limit; history and the partner's lists have them the other way round. The switch `pagingCodes` makes
all endpoints follow the table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from iys_simulator.errors.responses import Error, RefusedError, error_at
from iys_simulator.errors.retailer_messages import LIMIT_AS_H182, OFFSET_AS_H183
from iys_simulator.settings import Settings

LARGEST: Final = 100
_LARGEST_OFFSET: Final = 2**53
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Paging:
    """The requested part of a list."""

    offset: int
    limit: int

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Return the requested part of `items`."""
        return items[self.offset : self.offset + self.limit]


def paging_of(query: Mapping[str, str], settings: Settings, *, is_swapped: bool) -> Paging:
    """Read `offset` (0 where absent) and `limit` (100 where absent) of `query`.

    `is_swapped`: the endpoint's examples have the two codes the other way round.

    Raises:
        RefusedError: H182, H183, H186 or H187, all errors together.
    """
    swapped = is_swapped and settings.paging_codes == "examples"
    offset_code, limit_code = ("H183", "H182") if swapped else ("H182", "H183")
    offset_text, limit_text = (OFFSET_AS_H183, LIMIT_AS_H182) if swapped else (None, None)
    offset, limit = _number(query.get("offset", "0")), _number(query.get("limit", str(LARGEST)))
    errors: list[Error] = []
    if not isinstance(offset, int) or not 0 <= offset <= _LARGEST_OFFSET:
        errors.append(error_at(offset_code, "offset", offset, message=offset_text))
    if limit == 0:
        errors.append(error_at("H187", "limit", limit))
    elif not isinstance(limit, int) or limit < 0:
        errors.append(error_at(limit_code, "limit", limit, message=limit_text))
    elif limit > LARGEST:
        errors.append(error_at("H186", "limit", limit))
    if errors or isinstance(offset, str) or isinstance(limit, str):
        raise RefusedError(422, errors)
    return Paging(offset=offset, limit=limit)


def _number(text: str) -> int | str:
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) <= 18 else text  # noqa: PLR2004 - digits of a 64-bit number
