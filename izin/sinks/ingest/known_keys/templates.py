"""Change known keys in bulk: one computed example is the template of all that are like it.

What a newer decision, or an observation at İYS, makes of a row follows from the columns that it
shares with many others (its *shape*), from what changes it, and from the order of a few instants.
So the general path (``record.apply``, ``record.ruling``) runs once a template, and every further
row is written as that one, with columns of its own. Rows from which more follows (a rescue, a
status query, a breach, retailers) are left to the general path.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from izin.consent.next_action import Action
from izin.consent.transitions import State
from izin.sinks.ledger import retailers
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.history.hash_chain import Fact
from izin.sinks.ledger.outbox import row_of
from izin.sinks.ledger.row_templates import OutcomeTemplate, PermissionTemplate, columns_of
from izin.sinks.ledger.unit_of_work import is_breach
from izin.sinks.record.column_lists import OWN_OF_KNOWN, SAVED, SHARED_BY_KNOWN
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.messages import TopicMessages
from izin.sinks.record.outcome import Outcome
from izin.sinks.record.ruling import RuledRow

_MILLISECOND = 1000
_SUPERSEDED = "superseded"
_OWN: Final = 2 + len(OWN_OF_KNOWN)
_NAMED: Final = _OWN + SHARED_BY_KNOWN.index("reason") + 1
"""The columns of ``lock-known`` that have a name in :class:`KnownRow`."""


class KnownRow(NamedTuple):
    """What decides how a row changes. Instants are microseconds since 2000, as PostgreSQL has
    them.
    """

    address: bytes
    """Where it is, in binary: its ``ctid``."""
    version: bytes
    """Which transaction wrote it, in binary: its ``xmin``."""
    key: str
    event_id: str | None
    origin_ref: str | None
    desired_at: int | None
    latest_onay: int | None
    latest_ret: int | None
    registered_at: int | None
    consent_date: int | None
    """Of the record at İYS."""
    since: int | None
    attempts: int
    customer_id: str
    desired_status: str | None
    desired_rank: int | None
    registered: str
    registered_source: str | None
    state: str
    action: str
    reason: str | None
    is_unusual: bool
    shape: tuple[object, ...]
    """All that it shares with others, the columns above included."""


class Change(NamedTuple):
    """What is a row's own in what it becomes."""

    row: KnownRow
    columns: bytes
    """Its own columns in COPY format, up to ``permission_since``."""
    event_id: str
    """Of the desired event, as the other two."""
    origin_ref: str | None
    attempts: int
    registered_at: int | None
    """Of the record at İYS, as the next."""
    consent_date: int | None


class ChangeTemplate(NamedTuple):
    """What rows of one template become."""

    columns: bytes
    """Those that they share, in COPY format."""
    now: int
    """In microseconds since 2000."""
    is_answer_new: bool
    """Whether the permission's answer begins now."""
    permission: PermissionTemplate | None
    superseded: OutcomeTemplate | None
    """The outcome of the event that was desired before."""
    superseded_origin: str
    reached: OutcomeTemplate | None
    """The outcome of the event that is desired."""
    reached_origin: str
    due: tuple[Action, str]
    is_permitted: bool
    """Whether a permission is published that is given: it names the retailers of its key."""
    ends_access: bool
    """Whether İYS no longer holds the consent, and no retailer has access."""


def staged(head: bytes, template: ChangeTemplate, change: Change) -> bytes:
    """Return the row in the staging table, in COPY format, behind its ``head``."""
    row = change.row
    since = template.now if template.is_answer_new else row.since
    return b"".join(
        (
            head,
            copy_format.text(row.address),
            copy_format.text(row.version),
            change.columns,
            copy_format.stored_instant(since),
            template.columns,
        )
    )


def published(template: ChangeTemplate, change: Change, facts: list[Fact]) -> bytes:
    """Return the rows of the outbox that follow from ``change``; add those of its outcomes to
    ``facts``.
    """
    row = change.row
    messages = b""
    if template.permission is not None:
        since = template.now if template.is_answer_new else row.since
        messages = template.permission.row(
            copy_format.word(row.key),
            row.key.split("/", 3)[3].encode(),
            _in_milliseconds(change.registered_at),
            _in_milliseconds(change.consent_date),
            _in_milliseconds(since) or 0,
        )
    if template.superseded is not None:
        message, fact = template.superseded.made(
            row.key,
            row.event_id or "",
            row.attempts,
            template.superseded_origin,
            row.origin_ref,
            None,
            None,
        )
        messages += message
        facts.append(fact)
    if template.reached is not None:
        message, fact = template.reached.made(
            row.key,
            change.event_id,
            change.attempts,
            template.reached_origin,
            change.origin_ref,
            None,
            None,
        )
        messages += message
        facts.append(fact)
    return messages


def template_of(  # noqa: PLR0913  # an example, how it is written, and when
    topic_messages: TopicMessages,
    before: ConsentRow,
    ruled: RuledRow,
    example: Change,
    *,
    own: Sequence[str],
    shared: Sequence[str],
    now: datetime,
) -> ChangeTemplate | None:
    """Return the template of all changes like ``example``, which the general path has ruled; None
    where more follows from it than rows of the ledger, permissions and outcomes, or where the
    ``example`` itself would be written differently.

    ``own`` and ``shared`` are the columns that are written.
    """
    after = ruled.row.replace(updated_at=now)
    published_row = topic_messages.permission(before, after, now)
    after = after if published_row is None else published_row[0]
    step = retailers.step(before, after)
    if (
        ruled.rescue is not None
        or after.action in {Action.QUERY, Action.RESCUE}
        or (after.state is State.ACCEPTED and before.state is not State.ACCEPTED)
        or is_breach(before, after, now)
        or step not in {None, retailers.Step.ENDED}
        or _changes_others(before, after, {*own, *shared})
    ):
        return None
    outcomes = {one.outcome: one for one in topic_messages.outcomes(before, after, now)}
    superseded = outcomes.pop(_SUPERSEDED, None)
    reached = next(iter(outcomes.values()), None)
    permission = None if published_row is None else published_row[1]
    template = ChangeTemplate(
        columns=columns_of(after, shared),
        now=copy_format.microseconds(now) - copy_format.EPOCH,
        is_answer_new=after.permission_since != before.permission_since,
        permission=None
        if permission is None
        else PermissionTemplate(topic_messages, permission, at=now),
        superseded=_outcome(topic_messages, superseded, now),
        superseded_origin="" if superseded is None else superseded.origin,
        reached=_outcome(topic_messages, reached, now),
        reached_origin="" if reached is None else reached.origin,
        due=(after.action, after.desired_status or ""),
        is_permitted=permission is not None and after.may_send,
        ends_access=step is retailers.Step.ENDED,
    )
    messages = [] if permission is None else [permission]
    messages += [topic_messages.outcome(one) for one in (superseded, reached) if one is not None]
    at = copy_format.moment(now)
    is_same = published(template, example, []) == b"".join(row_of(one, at) for one in messages)
    address = copy_format.text(example.row.address) + copy_format.text(example.row.version)
    columns = address + columns_of(after, own) + template.columns
    return template if is_same and staged(b"", template, example) == columns else None


def order_of_opt_out(stated_at: int | None, latest_ret: int | None) -> int:
    """Return how a record of İYS and the latest opt-out follow one another: what may be sent
    depends on that alone.
    """
    if latest_ret is None:
        return 0
    if stated_at is None:
        return 1
    return 2 if stated_at > latest_ret else 3


def known_row(values: tuple[Any, ...]) -> KnownRow:
    """Return the row that ``lock-known`` has read."""
    return KnownRow._make((*values[:_NAMED], values[-1], values[_OWN:]))


def _in_milliseconds(instant: int | None) -> int | None:
    """Return an instant in milliseconds since 1970."""
    return None if instant is None else (instant + copy_format.EPOCH) // _MILLISECOND


def _outcome(
    topic_messages: TopicMessages, outcome: Outcome | None, now: datetime
) -> OutcomeTemplate | None:
    return None if outcome is None else OutcomeTemplate(topic_messages, outcome, at=now)


def _changes_others(before: ConsentRow, after: ConsentRow, written: set[str]) -> bool:
    """Whether another column changes than those that are written."""
    old: Mapping[str, object] = before.__dict__
    new: Mapping[str, object] = after.__dict__
    return any(old[name] != new[name] for name in SAVED if name not in written)
