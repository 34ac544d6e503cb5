"""The command ``izin`` as it is installed: without its packages it names the extra that has them.

Whoever installs izin for its libraries gets the command too, but not what it imports.
"""

import sys

_EXIT = 4
"""A part of this installation is at fault, as in ``izin.cli.terminal.output``, which needs the
packages that may be missing."""


def main() -> None:
    """Run the command line; exit with 4 where packages of the extra ``server`` are missing."""
    try:
        from izin.cli import cli  # noqa: PLC0415  # its packages may be missing

        cli.main()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in {"", "izin"}:
            raise
        sys.stderr.write(
            f"error: the command line needs packages that are not installed ({missing}); run: "
            "pip install '.[server]' in a checkout of izin, or pip install 'FILE.whl[server]' of "
            "its wheel\n"
        )
        raise SystemExit(_EXIT) from None
