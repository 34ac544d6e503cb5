"""Read the status of a key back where an opt-in may reach İYS after the opt-out that replaced it.

A call on its way cannot be recalled, and İYS may process it after our timeout; a process frozen
just before it writes a call writes it when it wakes. İYS refuses an opt-in with an older date
(H178), but not after a line was closed with an old one. So İYS is asked once more: after an opt-out
beside which the outcome of an opt-in was never known, after a call that was over too late, and
after a query that came before İYS must have saved what it got.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from izin.consent import Action, State, Status
from izin.ledger.db import Connection, fetch, statements
from izin.ledger.record import READ_BACK, AppliedResult, ConsentRow, Item, Submission
from izin.ledger.unit_of_work import UnitOfWork, lock
from izin.runtime.logs import get_logger

_UNKNOWN_SINCE = timedelta(hours=1)
_SETTLED = frozenset({State.ACCEPTED, State.NOT_NEEDED})

_SQL = statements("submissions")

_log = get_logger(__name__)


async def after_opt_outs(
    connection: Connection,
    items: Collection[Item],
    applied_by_place: Mapping[int, AppliedResult],
    now: datetime,
    *,
    result_delay: timedelta,
) -> dict[int, AppliedResult]:
    """Return the results of ``items``; the settled opt-outs beside which an opt-in may still be on
    its way are to be read back, once İYS has saved what it got at the latest.
    """
    keys = [item.key for item in items if item.status == Status.RET]
    called_until = await _opt_ins_of_unknown_outcome(connection, keys, since=now - _UNKNOWN_SINCE)
    results = dict(applied_by_place)
    for item in items:
        applied = results[item.place]
        if item.key in called_until and _is_settled_opt_out(applied.ruled.row):
            row = _to_read_back(applied.ruled.row, max(now, called_until[item.key]) + result_delay)
            results[item.place] = replace(applied, ruled=applied.ruled._replace(row=row))
    return results


async def after_late_call(
    changes: UnitOfWork,
    submission: Submission,
    items: Collection[Item],
    at: datetime,
) -> None:
    """Have those keys read back ``at`` an instant whose opt-ins of ``items`` were given up, by this
    process or another one, before a call of them was over.
    """
    opt_ins = [item for item in items if item.status == Status.ONAY]
    if not opt_ins:
        return
    found = await fetch(changes.connection, _SQL["withdrawn-items"], {"id": submission.id})
    withdrawn = {row["index"] for row in found}  # without an answer
    keys = [item.key for item in opt_ins if item.place in withdrawn]
    for row in (await lock(changes.connection, keys)).values():
        if _is_settled_opt_out(row):
            _log.critical("opt-in sent after its opt-out", submission=submission.id)
            changes.put(row, _to_read_back(row, at))


async def after_queries(
    changes: UnitOfWork, rows: Iterable[ConsentRow], *, result_delay: timedelta
) -> None:
    """Have those opt-outs among ``rows`` read back that a query has settled, though İYS may still
    save an opt-in that was given up without an answer.
    """
    settled = {row.key: row for row in rows if _is_settled_opt_out(row)}
    called_until = await _opt_ins_of_unknown_outcome(
        changes.connection, list(settled), since=changes.now - result_delay
    )
    for key, until in called_until.items():
        changes.put(settled[key], _to_read_back(settled[key], until + result_delay))


async def _opt_ins_of_unknown_outcome(
    connection: Connection, keys: Sequence[str], *, since: datetime
) -> dict[str, datetime]:
    """Return those of ``keys`` of which an opt-in was given up without an answer, though a call of
    it may have been written, and could be on its way after ``since``; and until when.
    """
    if not keys:
        return {}
    values = {"keys": keys, "since": since}
    query = _SQL["opt-ins-of-unknown-outcome"]
    return {row["key"]: row["call_until"] for row in await fetch(connection, query, values)}


def _is_settled_opt_out(row: ConsentRow) -> bool:
    return (
        row.desired_status == Status.RET
        and row.state in _SETTLED
        and row.action is Action.NOTHING
        and not row.is_open
    )


def _to_read_back(row: ConsentRow, at: datetime) -> ConsentRow:
    return row.replace(action=Action.QUERY, reason=READ_BACK, next_attempt_at=at)
