"""Whether İYS gives our account a token: a call is made with one, as a worker makes it.

A token that İYS gave a worker serves the doctor too; where there is none it is requested from the
budget that all processes share, and not while İYS asks for silence (H084).
"""

from datetime import datetime

from izin.console.doctor.finding import Finding, ok, wrong
from izin.console.terminal.output import turkish
from izin.iys.errors import CallError, TokenLimitError, UnauthenticatedError
from izin.runtime.settings import IysSettings
from izin.sinks.ledger import brands
from izin.sinks.ledger.access_tokens import LedgerTokenStore
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.outbound.iys_session import iys_session

_NOTHING = "nothing is submitted to İYS and nothing pulled from it"
_NO_PROVIDER = 0


async def token_finding(ledger: Ledger) -> Finding:
    """Return whether a call of our account gets a token."""
    settings = IysSettings()
    served = [one for one in await brands.every(ledger) if one.account in {None, settings.username}]
    iys_code = served[0].iys_code if served else _NO_PROVIDER
    async with iys_session(ledger, settings) as (client, pacer):
        await pacer.begin()
        try:
            await client.brands(iys_code)
        except CallError as error:
            state = await LedgerTokenStore.of(ledger, settings).read()
            return of_token(error, failures=state.failures, now=ledger.clock.now())
        finally:
            await pacer.flush()
    return of_token(None, failures=0, now=ledger.clock.now())


def of_token(error: CallError | None, *, failures: int, now: datetime) -> Finding:
    """Return the finding from what a call ended with, after so many requests without a token."""
    match error:
        case UnauthenticatedError():
            return wrong(
                "token",
                f"{error}: {_NOTHING}; correct IYS_USERNAME and IYS_PASSWORD and restart the sink "
                "workers with them: another password is used at once; where İYS corrected the "
                "account: izin brands retry",
            )
        case TokenLimitError():
            until = turkish(now + error.retry_after) if error.retry_after else "later"
            why = (
                f"the last {failures} requests gave none; is IYS_PASSWORD right? Another one is "
                "used at once, by the sink workers once they are restarted with it; the same one: "
                "izin brands retry"
                if failures
                else "İYS takes no more token requests of this address; none may be made before"
            )
            return wrong("token", f"no token may be requested until {until}: {why}")
        case CallError() if error.is_transient:
            return wrong("token", f"{error}; {_NOTHING} while that lasts")
        case _:
            return ok("token", "İYS takes the calls of our account")
