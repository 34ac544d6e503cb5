"""İYS's reports of one day of a brand (mutabakat): counts, hash, file, time stamp (reference 2.12).

They go back seven days (H502); business partners need ``agreementControl`` (H353). Every method
raises a CallError.
"""

from collections.abc import Callable
from datetime import date
from http import HTTPStatus
from typing import Final

from izin.consent.model import RecipientType
from izin.iys.errors import UnreadableError
from izin.iys.transport.exchange import Call, Exchange, Method
from izin.iys.wire_format.consents import BrandPath
from izin.iys.wire_format.json_reader import JsonReader
from izin.iys.wire_format.reports import DayAgreement, DayCount

_NONE: Final = frozenset({HTTPStatus.NO_CONTENT})
_LARGEST_TIMESTAMP: Final = 256 * 1024


class DayReports:
    """The calls about the day of a brand."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def counts(
        self, brand: BrandPath, day: date, recipient_type: RecipientType
    ) -> tuple[DayCount, ...]:
        """Return how many movements İYS counts for a day (Turkish time)."""
        return await self._exchange.call(
            Call(
                method=Method.GET,
                path=f"{brand}/changes/{day}/recipients/{recipient_type}",
                name="day_counts",
                nothing=_NONE,
            ),
            lambda answer: DayCount.read_all(JsonReader(answer)) if answer else (),
        )

    async def agreement(self, brand: BrandPath, day: date) -> DayAgreement | None:
        """Return the hash of a day's file and how far İYS is with it; None: the day has none."""
        return await self._exchange.call(
            Call(
                method=Method.GET,
                path=f"{brand}/agreements/{day}",
                name="day_agreement",
                nothing=_NONE,
            ),
            lambda answer: DayAgreement.read(JsonReader(answer)) if answer else None,
        )

    async def agree(self, brand: BrandPath, day: date) -> bool:
        """Declare that we agree with a day's file, for good: İYS accepts no other value (H512).

        False: the day has no movements. İYS compares nothing itself.
        """
        return await self._exchange.call(
            Call(
                method=Method.PUT,
                path=f"{brand}/agreements/{day}",
                name="agree",
                body={"agreementStatus": True},
                writes=True,
                nothing=_NONE,
            ),
            lambda answer: answer is not None,
        )

    async def timestamp(self, brand: BrandPath, day: date) -> bytes | None:
        """Return the time-stamp reply (RFC 3161, DER) over a day's hash; None: there is none.

        Raises:
            UnreadableError: it is longer than any such reply.
        """
        content = bytearray()

        def add(chunk: bytes) -> None:
            content.extend(chunk)
            if len(content) > _LARGEST_TIMESTAMP:
                raise UnreadableError(f"a time stamp of more than {_LARGEST_TIMESTAMP} bytes")

        path = f"{brand}/agreements/{day}/timestamp"
        call = Call(method=Method.GET, path=path, name="day_timestamp", nothing=_NONE)
        return bytes(content) if await self._exchange.download(call, add) else None

    async def download(self, brand: BrandPath, day: date, write: Callable[[bytes], object]) -> bool:
        """Pass a day's file (CSV) to ``write`` in chunks; False: the day has none.

        After an error, what was written is incomplete.
        """
        path = f"{brand}/changes/{day}/file"
        call = Call(method=Method.GET, path=path, name="day_file", nothing=_NONE)
        return await self._exchange.download(call, write)
