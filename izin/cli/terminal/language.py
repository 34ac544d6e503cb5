"""In which language a command says reasons and remedies."""

from typing import Annotated

import typer

from izin.views.i18n import Language

LanguageOption = Annotated[
    Language,
    typer.Option(
        "--language",
        help="In which language reasons and remedies are said.",
        envvar="IZIN_LANGUAGE",
    ),
]
