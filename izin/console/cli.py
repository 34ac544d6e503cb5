"""The command ``izin``. Each subcommand is in a module of its own; ``commands`` lists them.

Exit codes (``izin.console.terminal.output``): 0 done, 1 something is wrong, 2 wrong usage, 3 the
input cannot be used, 4 a server or a part of this installation is at fault, 5 opt-outs of the input
were refused, 130 stopped early.
"""

import logging
import sys

import structlog
import typer

from izin.console.commands import CommandGroup
from izin.runtime.masking import mask_event

_HELP = (
    "Manage consents to commercial messages, and register them at İYS within the legal term.\n\n"
    "İYS is Turkey's national register of consents to commercial messages. A consent is ONAY "
    "(opt-in) or RET (opt-out) and belongs to a brand (a sender registered at İYS), a channel "
    "(ARAMA: calls, MESAJ: text messages, EPOSTA: e-mail) and a recipient.\n\n"
    "Exit codes: 0 done, 1 something is wrong and the output says what to do, 2 wrong usage, 3 the "
    "input cannot be used, 4 a server or this installation is at fault, 5 opt-outs of the input "
    "were refused, 130 stopped by a signal."
)

app = typer.Typer(
    name="izin", cls=CommandGroup, no_args_is_help=True, pretty_exceptions_enable=False
)


class WarningLogger(structlog.PrintLogger):
    """Prints warnings and worse: what goes as it should is no news to who reads a result."""

    def info(self, message: str) -> None:
        """Drop ``message``."""

    debug = info


@app.callback(help=_HELP)
def izin() -> None:
    """Print help where no command is given."""
    if not structlog.is_configured():
        # A command's result is on standard output; logs are beside it, as everywhere.
        *others, renderer = structlog.get_config()["processors"]
        structlog.configure(
            processors=[*others, structlog.processors.format_exc_info, mask_event, renderer],
            logger_factory=lambda *_: WarningLogger(sys.stderr),
        )


def main() -> None:
    """Run the command line."""
    # Warnings of libraries belong to the logs of the workers, which configure logging; a command
    # reports what went wrong once, by itself.
    logging.getLogger().addHandler(logging.NullHandler())
    app()
