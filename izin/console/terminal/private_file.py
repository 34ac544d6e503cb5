"""Files with personal data: new ones, which their owner alone may read."""

import os
from pathlib import Path

from izin.consent.errors import SourceError


def write_new(path: Path, content: bytes) -> None:
    """Write a file that must not exist.

    Raises:
        SourceError: it exists, or cannot be written.
    """
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise SourceError(f"{path} cannot be written: {error.strerror}; name a new file") from error
    with os.fdopen(number, "wb") as target:
        target.write(content)
