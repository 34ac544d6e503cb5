"""Push connections: which address wants which movements, what is wrong with one, what was sent."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from iys_simulator.errors.messages import PASSWORD_MISSING, message_of
from iys_simulator.errors.responses import error

REGISTERED = "Bağlantı Oluşturuldu"
NOT_REGISTERED = "Bağlantı Oluşturulamadı"
_CREDENTIALS = {"username": message_of("H093"), "password": PASSWORD_MISSING}


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """An address that wants the movements of one type of one brand."""

    brand_code: int
    iys_code: int
    url: str
    type: str
    username: str
    password: str = field(repr=False)

    @property
    def name(self) -> tuple[int, str, str]:
        """What makes it one connection: brand, type, address."""
        return (self.brand_code, self.type, self.url)


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """A connection, whether it stands, and since when (wire text)."""

    connection: Connection
    stands: bool
    register_time: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """A delivery that was tried; `result` is the HTTP status or the error's name.

    `occurred_at` is the machine's epoch milliseconds; `recipients` are those of its movements.
    """

    brand_code: int
    type: str
    url: str
    occurred_at: int
    recipients: Sequence[str]
    result: str


def connection_errors(
    entry: dict[str, object], channels: Sequence[str], *, https: bool
) -> list[dict[str, object]]:
    """All errors of a connection's fields (H531, H111, H117, H093)."""
    errors = []
    url, channel = entry.get("url"), entry.get("type")
    if not isinstance(url, str) or not url:
        errors.append(error("H531", location=["url"]))
    elif not url.startswith("https://" if https else ("https://", "http://")):
        errors.append(error("H531"))
    if "type" not in entry:
        errors.append(error("H111", location=["type"]))
    elif channel not in channels:
        errors.append(error("H117", location=["type"], value=channel))
    for name, text in _CREDENTIALS.items():
        value = entry.get(name)
        if not isinstance(value, str) or not value:
            errors.append(error("H093", message=text, location=[name]))
    return errors
