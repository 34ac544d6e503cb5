"""Which egress addresses İYS has taken off its list, and whose brands a process serves meanwhile.

İYS answers only addresses that are on its list, and takes one off it after four days of failing
calls, or when somebody removes it there. How it answers then is not documented: by a 403 without a
code, or not at all. So an address is taken for delisted when all its calls end like this for a
while; where they are not answered, only while calls from another address are, or İYS itself is
down. Its brands are served from the other addresses until a call from it is answered.
"""

from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus

from izin.iys.exchange import NO_ANSWER
from izin.ledger import stream_progress, suspensions
from izin.ledger.db import Connection, Ledger, statements
from izin.ledger.record import LeaseOwner
from izin.ledger.sweep import sweeps
from izin.runtime.logs import get_logger

_SPAN = timedelta(seconds=15)
_SQL = statements("egress")
_log = get_logger(__name__)


class AddressAnswer(StrEnum):
    """What a call ended with."""

    ANSWERED = "answered"
    FORBIDDEN = "forbidden"
    """403 without a code of İYS's."""
    NONE = "none"

    @classmethod
    def of(cls, code: str) -> "AddressAnswer":
        """Return what a call ended with, of its code or HTTP status."""
        return {NO_ANSWER: cls.NONE, str(HTTPStatus.FORBIDDEN.value): cls.FORBIDDEN}.get(
            code, cls.ANSWERED
        )


async def note(connection: Connection, address: str, answer: AddressAnswer) -> None:
    """Note the answer to the last call from an address; an answer puts it on the list again."""
    await connection.execute(_SQL["note"], {"address": address, "answer": str(answer)})


async def doubted(ledger: Ledger, owner: LeaseOwner) -> int | None:
    """Return a brand's code at İYS to ask for where the last call from the address of ``owner`` was
    not answered, or one from another address lately; None: they were.
    """
    rows = await ledger.fetch(_SQL["doubted"], {"account": owner.account, "address": owner.address})
    return rows[0]["iys_code"] if rows else None


async def refresh(ledger: Ledger, owner: LeaseOwner) -> None:
    """Find addresses that are delisted, of whatever process, and have ``owner`` serve the brands of
    the others; none while its own is.
    """
    async with ledger.transaction() as connection:
        found = await (await connection.execute(_SQL["judge"], {"span": _SPAN})).fetchall()
        rows = await (await connection.execute(_SQL["delisted"])).fetchall()
        if found:
            # What waits a quarter of an hour for a person has failed from there alone, perhaps.
            await stream_progress.wake(connection)
            await sweeps.wake(connection)
            await suspensions.recheck_all(connection)
    for one in found:
        _log.critical(
            "address delisted",
            **one,
            effect="its brands are served from the other addresses, where there are any",
            remedy="have İYS put it on its list again; see: izin iys limits",
        )
    delisted = {row["address"] for row in rows}
    for address in sorted(owner.delisted - delisted):
        _log.info("address listed again", address=address)
    owner.delisted.clear()
    owner.delisted.update(delisted)
