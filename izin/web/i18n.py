"""Turkish and English, as files for people have them too."""

from izin.views.i18n import (
    DEFAULT,
    Language,
    day,
    duration,
    number,
    short,
    text,
    translations,
    when,
)

__all__ = (
    "DEFAULT",
    "Language",
    "day",
    "duration",
    "number",
    "short",
    "text",
    "translations",
    "when",
)
