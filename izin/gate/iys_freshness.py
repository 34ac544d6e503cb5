"""When İYS's data were last pulled, of each brand and channel: the topic ``iys-freshness``."""

from datetime import datetime

from izin.consent.model import Channel
from izin.schemas.records import AvroRecord


class IysFreshness:
    """The latest pulls. Written by one thread, read by any."""

    def __init__(self) -> None:
        self._pulled_at: dict[tuple[int, str], datetime] = {}

    def pulled_at(self, brand_code: int, channel: Channel) -> datetime | None:
        """Return when both of İYS's streams were last pulled to their ends; None: never."""
        return self._pulled_at.get((brand_code, channel))

    def put(self, record: AvroRecord) -> None:
        """Add or replace an instant."""
        self._pulled_at[record["brand_code"], record["type"]] = record["last_pulled_at"]

    def remove(self, key: bytes) -> None:
        """Forget a brand and channel, ``brand_code/type``."""
        brand_code, _, channel = key.decode().partition("/")
        self._pulled_at.pop((int(brand_code), channel), None)

    def unreadable(self, key: bytes) -> None:
        """Keep the instant that is known: it grows old by itself."""
