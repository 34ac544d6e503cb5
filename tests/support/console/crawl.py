"""What every screen is asked: of one's own customer, and of another's.

Which fields its forms and addresses have, its module says; what each is filled with, its name. So a
screen that is added is asked too, without a line here.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from izin.ledger.db import Ledger
from izin.web.process import SCREENS
from izin.web.visit import Screen
from tests.support.builders import BRAND, CUSTOMER
from tests.support.customers.installation import FOREIGN_BRAND, FOREIGN_CUSTOMER, FOREIGN_RECIPIENT

OUR_RECIPIENT = f"+90555{BRAND}1"
UNMASKED = re.compile(r"\+90\d{10}|(?<!\w)05\d{2} ?\d{3} ?\d{2} ?\d{2}(?!\w)")
"""A phone number as it is."""
_FIELD = re.compile(r"\b(?:form|visit)\.(?!file|text)\w+\((?:\s*\"(\w+)\",?)+")
_FILE = re.compile(r"\bform\.file\(\s*\"(\w+)\"")
_QUERY = re.compile(r"\b(?:query_params|query)\.get\(\s*\"(\w+)\"")
_PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")
_MARKUP = re.compile(r"<svg.*?</svg>|<[^>]*>", re.DOTALL)
_NUMBERED = ("complaints", "subscribers", "brakes", "erasures", "sweeps", "suspension_orders")
"""Tables whose rows have numbers and a customer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """What somebody may name of a customer."""

    customer: str
    brand: int
    recipient: str
    numbers: Mapping[str, int]
    """Of a row of each table."""

    @property
    def key(self) -> str:
        """The key of its recipient."""
        return f"{self.brand}/MESAJ/BIREYSEL/{self.recipient}"

    def values(self, name: str) -> Sequence[str]:
        """Return what a field or a part of a path of this name is filled with."""
        now = datetime.now(UTC)
        for pattern, values in (
            ("customer", [self.customer]),
            ("^name$", [f"crm-{self.customer}"]),
            ("brand", [str(self.brand)]),
            ("key", [self.key]),
            ("recipient|phone|mail|who|person|search", [self.recipient]),
            ("month", [f"{now:%Y-%m}"]),
            ("day|date|_on$", [f"{now:%Y-%m-%d}"]),
            ("channel", ["MESAJ"]),
            ("status", ["ONAY"]),
            ("after|before|page|cursor", [str(self.brand), self.key]),
        ):
            if re.search(pattern, name):
                return [*values]
        numbers = sorted({str(one) for one in self.numbers.values()})
        return [*numbers, str(self.brand), self.customer, self.key]

    @property
    def named(self) -> tuple[str, ...]:
        """Everything that it may have named: what is asked for stands in answers too."""
        numbers = map(str, self.numbers.values())
        return (
            self.key,
            f"crm-{self.customer}",
            self.customer,
            str(self.brand),
            self.recipient,
            *numbers,
        )


async def parties(ledger: Ledger) -> tuple[Party, Party]:
    """Return us, and another customer, in an installation of forty."""
    found = []
    for customer, brand, recipient in (
        (CUSTOMER, BRAND, OUR_RECIPIENT),
        (FOREIGN_CUSTOMER, FOREIGN_BRAND, FOREIGN_RECIPIENT),
    ):
        numbers = {}
        for table in _NUMBERED:
            query = f"SELECT min(id) AS id FROM {table} WHERE customer_id = %(customer)s"
            (row,) = await ledger.fetch(query, {"customer": customer})  # type: ignore[arg-type]
            numbers[table] = row["id"]
        found.append(Party(customer=customer, brand=brand, recipient=recipient, numbers=numbers))
    ours, theirs = found
    return ours, theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request to a screen."""

    screen: Screen
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    files: Sequence[str] = ()
    """The fields in which a file may be."""


@cache
def _names(module: str) -> tuple[tuple[str, ...], ...]:
    """Return the fields, the parts of a query, and the files that a module reads."""
    source = inspect.getsource(sys.modules[module])
    return tuple(tuple(dict.fromkeys(one.findall(source))) for one in (_FIELD, _QUERY, _FILE))


def asked(screen: Screen, party: Party) -> Iterator[Asked]:
    """Yield the requests to a screen that name what is of ``party``, one for each value that the
    parts of its path may have.
    """
    fields, queries, files = _names(screen.run.__module__)
    form = {name: party.values(name)[0] for name in fields}
    query = {name: party.values(name)[0] for name in queries}
    parts = {
        name: [
            one for one in party.values(name) if one.isdigit() or (kind != "int" and "/" not in one)
        ]
        for name, kind in _PARAMETER.findall(screen.path)
    }
    for number in range(max(map(len, parts.values()), default=1)):
        path = screen.path
        for name, values in parts.items():
            path = re.sub(rf"{{{name}(:\w+)?}}", values[number % len(values)], path)
        yield Asked(
            screen=screen,
            path=path,
            query={"customer": party.customer, **query},
            form=form if screen.method == "POST" else {},
            files=files if screen.method == "POST" else (),
        )


def text_of(page: str) -> str:
    """Return what a page says, without its markup and its plots, whose numbers are places."""
    return _MARKUP.sub(" ", page)


def posted(screens: Sequence[Screen] = SCREENS) -> list[Screen]:
    """Return the screens to which a form is posted."""
    return [one for one in screens if one.method == "POST"]


async def foreign_rows(ledger: Ledger) -> Mapping[str, str]:
    """Return a digest of what each table has of other customers: what nobody of ours may change."""
    found = {}
    tables = await ledger.fetch(
        "SELECT c.relname AS name, bool_or(a.attname = 'customer_id') AS is_of_customer"
        " FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
        " AND NOT c.relispartition AND a.attname IN ('customer_id', 'brand_code')"
        " AND c.relname <> 'history' GROUP BY 1"
    )
    for table in tables:
        column = "customer_id" if table["is_of_customer"] else "brand_code"
        own = "'acme'" if table["is_of_customer"] else "100000 AND 199999"
        compared = f"NOT BETWEEN {own}" if column == "brand_code" else f"<> {own}"
        query = (
            "SELECT coalesce(md5(string_agg(t::text, '' ORDER BY t::text)), '') AS digest"
            f" FROM {table['name']} AS t WHERE {column} {compared}"
        )
        (row,) = await ledger.fetch(query)  # type: ignore[arg-type]
        found[table["name"]] = row["digest"]
    return found
