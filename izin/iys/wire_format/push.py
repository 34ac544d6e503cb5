"""İYS's pushes: movements of citizens, and one fixed test payload (reference section 2.8).

The test payload is acknowledged and never stored. A push is authenticated by HTTP Basic only, may
repeat and may come in any order; it does not replace pull.
"""

from dataclasses import dataclass
from typing import Final

from izin.iys.wire_format.consents import IysMovement
from izin.iys.wire_format.json_reader import (
    JsonReader,
    UnreadableItem,
    parse_json,
    read_each,
)

TEST_CODE: Final = 121212
TEST_RECIPIENT: Final = "pushtest@iys.org.tr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A push: its movements to store, and how many test payloads it had."""

    movements: tuple[IysMovement, ...]
    tests: int
    unreadable: tuple[UnreadableItem, ...] = ()

    @property
    def is_test(self) -> bool:
        """Whether İYS only tested the connection."""
        return self.tests > 0 and not (self.movements or self.unreadable)


def is_test(movement: IysMovement) -> bool:
    """Whether ``movement`` is İYS's test payload: its codes and its recipient are fixed."""
    return (
        movement.iys_code == TEST_CODE
        and movement.brand_code == TEST_CODE
        and movement.recipient == TEST_RECIPIENT
    )


def parse_push(body: bytes) -> Push:
    """Return the push in the body of a request.

    Raises:
        UnreadableError: ``body`` has no list of movements.
    """
    items = JsonReader(parse_json(body)).raw("list") or []
    found, unreadable = read_each(items, IysMovement.read)
    movements = tuple(movement for movement in found if not is_test(movement))
    return Push(movements=movements, tests=len(found) - len(movements), unreadable=unreadable)
