"""Options that say which part of history a replay concerns."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import typer

from izin.console.terminal.arguments import is_key, named_recipients
from izin.runtime.plan import Selection

BrandOption = Annotated[
    list[int] | None, typer.Option("--brand", min=1, help="Of this brand; repeat it.")
]
CustomerOption = Annotated[
    list[str] | None, typer.Option("--customer", help="Of this customer; repeat it.")
]


def selection_of(
    *,
    recipients: Iterable[str] | None,
    brands: Iterable[int] | None,
    since: datetime | None = None,
    until: datetime | None = None,
    customers: Iterable[str] | None = None,
) -> Selection:
    """Return the selection of these options.

    Raises:
        SourceError: a recipient is neither a phone number nor an e-mail address nor a key, or
            nothing can match.
    """
    named = list(named_recipients(recipients or ()))
    return Selection(
        since=since,
        until=until,
        keys=frozenset(one for one in named if is_key(one)),
        recipients=frozenset(one for one in named if not is_key(one)),
        brands=frozenset(brands or ()),
        customers=frozenset(customers or ()),
    )
