"""The roots of the settings, against which the time stamps of daily files are verified."""

from pathlib import Path

from cryptography.x509 import Certificate

from izin.runtime.errors import SettingError
from izin.schemas.timestamps import roots_in


def trusted_roots(file: Path | None) -> tuple[Certificate, ...]:
    """Return the certificates in a file (PEM) of ``IZIN_TIMESTAMP_ROOTS``; none without a file.

    Raises:
        SettingError: it cannot be read, or has no certificate.
    """
    if file is None:
        return ()
    try:
        return roots_in(file)
    except (OSError, ValueError) as error:
        raise SettingError(
            f"IZIN_TIMESTAMP_ROOTS names {file}, which has no certificates ({error}); name a file "
            "with the roots of the time-stamp authority in PEM"
        ) from error
