"""An order worker whose own code fails on every event of the origin ``FAILS``."""

from unittest import mock

from izin.consent import admit
from izin.streams import guard
from izin.streams.__main__ import main
from izin.streams.order import OrderStage

FAILS = "failing"


def failing(event: guard.ConsentEvent, **keywords: object) -> object:
    """Admit `event`, unless it is marked."""
    if event.origin == FAILS:
        raise ZeroDivisionError
    return admit(event, **keywords)


if __name__ == "__main__":
    with (
        mock.patch.object(guard, "admit", failing),
        mock.patch.object(OrderStage, "_fold_fast", return_value=False),  # which admits elsewhere
    ):
        main()
