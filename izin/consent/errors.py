"""The one tree of errors; the type says who may act.

IzinError
├── OurError            a fault of this installation: code or configuration; an operator acts
│   └── NaiveInstantError
├── SourceError         what a source sent cannot be used; the source acts
│   └── UnreadableKeyError
└── IysError            İYS answered, or failed to; defined in ``izin.iys.errors``
"""

from __future__ import annotations


class IzinError(Exception):
    """Everything this project raises on purpose."""


class OurError(IzinError):
    """A fault of this installation: code or configuration. An operator acts."""


class SourceError(IzinError):
    """What a source sent cannot be used. The source acts."""


class IysError(IzinError):
    """İYS answered with a refusal, or failed to answer."""


class NaiveInstantError(OurError):
    """An instant without a time zone: a legal bug, for deadlines hang on it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} has no time zone; give an aware datetime")
        self.name = name


class UnreadableKeyError(SourceError):
    """Text that is no canonical key, ``brand_code/type/recipient_type/recipient``."""

    def __init__(self, text: str) -> None:
        super().__init__(
            "not a canonical key (brand_code/type/recipient_type/recipient): "
            f"{text.count('/') + 1} parts"
        )
