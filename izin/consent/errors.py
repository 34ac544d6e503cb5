"""The tree of errors; the type says who has to act.

IzinError
├── OurError            a fault of this installation: code or configuration; an operator acts
│   ├── NaiveInstantError
│   ├── IllegalTransitionError
│   └── OutsideCalendarError
├── SourceError         what a source sent cannot be used; the source acts
│   └── UnreadableKeyError
└── IysError            İYS refused or did not answer; subclasses in ``izin.iys.errors``
"""


class IzinError(Exception):
    """Base of every error that this project raises."""


class OurError(IzinError):
    """A fault of this installation: code or configuration. An operator acts."""


class SourceError(IzinError):
    """What a source sent cannot be used. The source acts.

    Where people read it in another language, ``wording`` is what is translated: ``values`` stand
    for each ``%(name)s`` in it.
    """

    def __init__(self, wording: str = "", **values: object) -> None:
        super().__init__(wording % values if values else wording)
        self.wording = wording
        self.values = values


class IysError(IzinError):
    """İYS refused a call, or did not answer."""


class NaiveInstantError(OurError):
    """An instant without a time zone: a legal bug, for deadlines depend on it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} has no time zone; give an aware datetime")
        self.name = name


class IllegalTransitionError(OurError):
    """An event that the lifecycle does not allow in this state; nothing was changed."""

    def __init__(self, state: str, event: str) -> None:
        super().__init__(
            f"an obligation in state {state} does not allow {event}; nothing was changed"
        )
        self.state = state
        self.event = event


class OutsideCalendarError(OurError):
    """A year that the calendar does not cover; no term is counted in it."""

    def __init__(self, year: int, *, first: int, last: int) -> None:
        super().__init__(
            f"the holidays of {year} are not known, only those of {first} to {last}: correct the "
            "date, or install a version of izin whose calendar has that year"
        )
        self.year = year


class UnreadableKeyError(SourceError):
    """A text that is not a canonical key, ``brand_code/type/recipient_type/recipient``."""

    def __init__(self, text: str) -> None:
        super().__init__(
            "not a canonical key (brand_code/type/recipient_type/recipient): "
            f"{text.count('/') + 1} parts"
        )
