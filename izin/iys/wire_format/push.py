"""What İYS pushes: movements of citizens, and one fixed test payload (reference section 2.8).

The test payload is acknowledged and never stored. A push is known by nothing but our own HTTP Basic
check, may repeat and may come in any order; it does not replace pull.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from izin.iys.wire_format.consents import Movement
from izin.iys.wire_format.json_reader import Reader, parse_json

TEST_CODE: Final = 121212
TEST_RECIPIENT: Final = "pushtest@iys.org.tr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A push: its movements to store, and how many were İYS's test."""

    movements: tuple[Movement, ...]
    tests: int

    @property
    def is_test(self) -> bool:
        """Whether İYS was only trying the connection."""
        return self.tests > 0 and not self.movements


def is_test(movement: Movement) -> bool:
    """Return whether ``movement`` is İYS's test: its number and its recipient, both fixed."""
    return (
        movement.iys_code == TEST_CODE
        and movement.brand_code == TEST_CODE
        and movement.recipient == TEST_RECIPIENT
    )


def parse_push(body: bytes) -> Push:
    """Return the push in a request's body; raises UnreadableError, then nothing of it counts."""
    told = [Movement.read(item) for item in Reader(parse_json(body)).each("list")]
    movements = tuple(movement for movement in told if not is_test(movement))
    return Push(movements=movements, tests=len(told) - len(movements))
