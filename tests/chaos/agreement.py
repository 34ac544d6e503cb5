"""Check that decisions, ledger, İYS's register and permissions agree on every key."""

from collections.abc import Collection, Mapping

from izin.consent import Consent
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.stack.report import DesiredState, FinalState, compare
from izin.stack.scenario import LedgerState
from tests.chaos.hostile.records import RECIPIENTS


async def differences(
    ledger: Ledger,
    states: Mapping[str, Consent],
    register: Mapping[str, str],
    permitted: Mapping[str, bool],
    *,
    also: Collection[FinalState] = (),
) -> list[str]:
    """Return where ``states``, the ledger, ``register`` and ``permitted`` differ on a key.

    ``also``: how a key may end beside being registered, or being an opt-out that İYS needs not.
    Hostile records' own keys are left out, but for what İYS has of them.
    """
    kept = {
        row["key"]: LedgerState(
            desired=row["desired_status"] or "",
            registered=row["registered"],
            state=row["state"],
            reason=row["reason"] or "",
            void_event_id=row["void_event_id"],
        )
        async for row in reads.register(ledger)
        if f"/{RECIPIENTS}" not in row["key"]
    }
    desired = {
        key: DesiredState(one.status, one.event_id)
        for key, one in states.items()
        if f"/{RECIPIENTS}" not in key
    }
    found = compare(desired, kept, register, permitted)
    fine = {FinalState.REGISTERED, FinalState.LOCAL_ONLY, *also}
    return [f"{one.key}: {one.what}" for one in found.differences] + [
        f"{count} keys {end}" for end, count in found.final_states.items() if end not in fine
    ]
