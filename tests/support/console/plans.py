"""The statements that screens run, and those whose plan reads a whole table that is large.

A plan reads a table whole by a sequential scan, and by an index that has all its rows where no
condition limits what is read of it. An index on some of the rows is made for being read whole, and
what stands under a limit stops there.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import psycopg
from psycopg import sql

_SCANS = frozenset({"Seq Scan", "Parallel Seq Scan"})
_INDEXED = frozenset({"Index Scan", "Index Only Scan", "Bitmap Index Scan"})
_PLANNED = ("select", "with", "insert", "update", "delete")
_LARGE = """SELECT c.relname FROM pg_class AS c
    WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
        AND CASE WHEN %(rows)s::real IS NULL THEN c.relname ~ %(growing)s
            ELSE c.reltuples >= %(rows)s END"""
_GROWING = r"^(consents|history_\d+_\d+|submissions|submission_items|deliveries|delivery_attempts)$"
"""The tables that have more rows with every message."""
_WHOLE = """SELECT c.relname AS name FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE i.indpred IS NULL AND i.indrelid = ANY(%s::regclass[])"""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with its values."""

    text: str
    values: Any


@contextmanager
def recorded() -> Iterator[list[Statement]]:
    """Record the statements that this process runs, in order."""
    found: list[Statement] = []
    before = [(kind, kind.execute) for kind in (psycopg.AsyncCursor, psycopg.AsyncServerCursor)]
    for kind, execute in before:
        kind.execute = _recording(execute, found)  # type: ignore[method-assign]
    try:
        yield found
    finally:
        for kind, execute in before:
            kind.execute = execute  # type: ignore[method-assign]


def _recording(execute: Callable[..., Any], found: list[Statement]) -> Callable[..., Any]:
    @wraps(execute)
    async def noted(self: Any, query: Any, params: Any = None, **how: Any) -> Any:  # noqa: ANN401  # as psycopg has them
        text = query.decode() if isinstance(query, bytes) else str(query)
        found.append(Statement(text, params))
        return await execute(self, query, params, **how)

    return noted


def scans(
    url: str, statements: Iterable[Statement], *, rows: float | None = None
) -> dict[str, set[str]]:
    """Return which tables of so many ``rows`` or more the plans read whole, by statement.

    None: a small ledger, in which PostgreSQL avoids every scan of a table that grows, if it can.
    """
    with psycopg.connect(url) as connection:
        values = {"rows": rows, "growing": _GROWING}
        large = {name for (name,) in connection.execute(_LARGE, values).fetchall()}
        whole = {name for (name,) in connection.execute(_WHOLE, [list(large)]).fetchall()}
        if rows is None:  # joins that read a side whole are right for a few rows alone
            for way in ("seqscan", "hashjoin", "mergejoin"):
                connection.execute(sql.SQL("SET {} = off").format(sql.Identifier(f"enable_{way}")))
        found = {}
        for one in {(each.text, repr(each.values)): each for each in statements}.values():
            plan = _plan(connection, one)
            read = set() if plan is None else set(_read_whole(plan, large, whole))
            if read:
                found[one.text] = read | found.get(one.text, set())
        connection.rollback()
    return found


def _plan(connection: psycopg.Connection[Any], one: Statement) -> Any:  # noqa: ANN401  # PostgreSQL's JSON
    """Return the plan of a statement; None: it has none, or needs what its transaction made."""
    words = "\n".join(
        line for line in one.text.splitlines() if not line.lstrip().startswith("--")
    ).split(maxsplit=1)
    if not words or words[0].lower() not in _PLANNED:
        return None
    explain = sql.SQL("EXPLAIN (FORMAT JSON) ") + sql.SQL(one.text)  # type: ignore[arg-type]
    try:
        with connection.transaction():
            (row,) = connection.execute(explain, one.values).fetchall()
    except psycopg.errors.UndefinedTable:
        return None
    return row[0][0]["Plan"]


def _read_whole(
    plan: Mapping[str, Any],
    large: Collection[str],
    whole: Collection[str],
    *,
    limited: bool = False,
) -> Iterator[str]:
    kind, table = plan["Node Type"], plan.get("Relation Name")
    limited = limited or kind == "Limit"
    if kind in _SCANS and table in large:
        yield str(table)
    unlimited = kind in _INDEXED and not limited and "Index Cond" not in plan
    if unlimited and plan["Index Name"] in whole:
        yield str(plan["Index Name"])
    if kind in {"Sort", "Aggregate", "Hash", "Materialize", "WindowAgg"}:
        limited = False  # reads all of what is below it
    for each in plan.get("Plans", ()):
        yield from _read_whole(each, large, whole, limited=limited)
