"""Templates of missing rows, of which PostgreSQL makes all that are like them (``lost_rows``).

One row of each template is computed by the general path (``shadow_rows.lost_row``,
``record.ruling``, ``record.messages``); every other that shares its decided columns is the same
with its own key, event and instants. A row from which more follows than an obligation that waits
has no template, and is left to the general path.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from izin.consent.business_days import Calendar
from izin.consent.next_action import Action
from izin.consent.transitions import State
from izin.replay.ledger.shadow_rows import Shadow, lost_row
from izin.schemas.fast.writer import long_bytes
from izin.sinks.record import ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.column_lists import OWN_OF_NEW, SHARED_BY_RESTORED, TERMS, TYPES
from izin.sinks.record.messages import TopicMessages

_WRITTEN = frozenset({*OWN_OF_NEW, *SHARED_BY_RESTORED})
_NO_TERMS = (None, None)
MOST = 1000
"""So many templates are learnt of a page, and so many are kept for the next: where rows have little
in common, the general path costs less.
"""


class _Known(NamedTuple):
    brand_code: int
    template: Mapping[str, Any] | None
    """None: rows like this one are left to the general path."""


class LostRowTemplates:
    """The templates of the rows that are missing at one instant, by name."""

    def __init__(self, topic_messages: TopicMessages, *, now: datetime, calendar: Calendar) -> None:
        self._topic_messages = topic_messages
        self._brands: dict[int, Brand | None] = {}
        self._now = now
        self._calendar = calendar
        self._known: dict[str, _Known] = {}
        self.due_actions: set[tuple[Action, str]] = set()
        """The actions that rows of these templates are due, each with the desired status."""
        self.values: Mapping[str, object] = {}
        """The values of statements that make rows: the templates, and the names that are known."""
        self._describe()

    def follow(self, brands: Mapping[int, Brand | None]) -> None:
        """Compute by these brands from now on; None: it is not registered. What was computed by
        another state of one of them is forgotten, and so is everything once it is too much.
        """
        changed = {code for code, brand in brands.items() if self._brands.get(code) != brand}
        self._brands |= brands
        self._known = {
            name: known
            for name, known in self._known.items()
            if known.brand_code not in changed and len(self._known) <= MOST
        }
        self._describe()

    def learn(self, examples: Mapping[str, Shadow]) -> None:
        """Compute the templates of which these rows of the shadow are examples, by name."""
        for name, shadow in examples.items():
            self._known[name] = _Known(shadow["brand_code"], self._template(shadow))
        self._describe()

    def _describe(self) -> None:
        templates = [
            {"name": name, **known.template}
            for name, known in self._known.items()
            if known.template is not None
        ]
        self.values = {"templates": orjson.dumps(templates).decode(), "known": list(self._known)}

    def _template(self, shadow: Shadow) -> Mapping[str, Any] | None:
        """Return the template computed from ``shadow``; None where more follows from it."""
        now = self._now
        row = lost_row(shadow, {}, now)
        brand = self._brands.get(row.brand_code)
        if brand is None or row.state is not State.PENDING or (row.desired_at or now) > now:
            return None
        ruled = ruling.rule_row(row, brand, now, calendar=self._calendar)
        permission = self._topic_messages.permission(None, ruled.row.replace(updated_at=now), now)
        if permission is None or ruled.rescue is not None:
            return None
        after, message = permission
        terms = tuple(after.__dict__[name] for name in TERMS)
        if terms not in {_NO_TERMS, tuple(shadow[name] for name in TERMS)}:
            return None
        left_out = any(after.__dict__[name] is not None for name in TYPES if name not in _WRITTEN)
        recipient = after.recipient.encode()
        field = long_bytes(len(recipient)) + recipient
        before, found, behind = (message.value or b"").partition(field)
        if after.state is not State.PENDING or left_out or not found:
            return None
        self.due_actions.add((after.action, after.desired_status or ""))
        return {
            "shared": after.__dict__,
            "topic": message.topic,
            "before": (before + long_bytes(len(recipient))).hex(),
            "behind": behind.hex(),
            "headers": message.headers,
        }
