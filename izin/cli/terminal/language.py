"""In which language a command says reasons and remedies: an option, and the locale without it."""

import os
from typing import Annotated

import typer

from izin.views.i18n import Language


def _of_environment() -> Language:
    """Return Turkish where the environment's locale is, else English."""
    given = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    locale = next(filter(None, given), "")
    return Language.TURKISH if locale.startswith("tr") else Language.ENGLISH


LanguageOption = Annotated[
    Language,
    typer.Option(
        "--language",
        help="In which language reasons and remedies are said; of the locale unless given.",
        default_factory=_of_environment,
        show_default=False,
    ),
]
