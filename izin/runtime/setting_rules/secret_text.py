"""The text of a secret that is in a file."""

from collections.abc import Mapping
from pathlib import Path

from izin.runtime.errors import SettingError

SUFFIX = "_FILE"
"""Of the variable that names the file, after the name of the setting."""


def secret_of(variable: str, environ: Mapping[str, str]) -> str | None:
    """Return the secret of the file that ``environ`` names for ``variable``; None for no file.

    One line break at its end, which editors add, does not belong to it.

    Raises:
        SettingError: the secret is given twice, or the file is empty or cannot be read.
    """
    name = f"{variable}{SUFFIX}"
    path = environ.get(name)
    if not path:
        return None
    if environ.get(variable):
        raise SettingError(f"{variable} and {name} are both set; unset one of them")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise SettingError(
            f"{name}={path} cannot be read ({error.strerror}); name a file that this user may read"
        ) from error
    except UnicodeDecodeError:
        # Without its cause, which would quote the file.
        raise SettingError(f"{name}={path} is no text in UTF-8; write the secret there") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise SettingError(f"{name}={path} is empty; write the secret there")
    return secret
