"""``izin iys retailers``: the retailers (bayi) that İYS has of a brand, added and removed there.

Events name a retailer by the code that İYS gives it. Identity numbers are read from the file and
sent to İYS; they are kept and shown nowhere.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from izin.cli.terminal import (
    BrandArgument,
    ByOption,
    ExecuteOption,
    OutputFormat,
    OutputOption,
    exit_if,
    print_rows,
    say,
)
from izin.cli.terminal.iys_session import run_at_iys
from izin.cli.terminal.ledger_session import note_look
from izin.consent import ConsentKey, SourceError
from izin.iys.client import IysClient
from izin.iys.errors import RefusedError
from izin.iys.retailer_calls import Retailer
from izin.ledger import brands
from izin.ledger.db import Ledger
from izin.ledger.history import brand_key, record_act
from izin.ledger.record import Brand
from izin.views.cut import Look

_REQUIRED = frozenset({"title", "name", "tckn", "tin", "city", "town"})
_KNOWN = _REQUIRED | {"mersis", "alias", "mobile", "status"}
_THERE = frozenset({"H230", "H231", "H253"})
"""İYS has a retailer of the same number, the last one as passive."""

app = typer.Typer(no_args_is_help=True, help="The retailers (bayi) that İYS has of a brand.")


@app.command("list")
def at_iys(
    brand_code: BrandArgument,
    *,
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Only those that may use the consent of this key."),
    ] = None,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List the retailers that İYS has of a brand, each with how many consents it may use.

    With --key those that may use one consent; who looked is then written to the history.
    """
    parsed = None if key is None else ConsentKey.parse(key)
    if parsed is not None and parsed.brand_code != brand_code:
        raise SourceError(f"--key is of brand {parsed.brand_code}, not {brand_code}")

    async def work(ledger: Ledger, client: IysClient) -> list[Retailer]:
        path = (await brands.registered_brand(ledger, brand_code)).path
        every = await client.retailers.every(path)
        if parsed is None:
            return [*every]
        look = Look(command="iys retailers list", by=by, people=[str(parsed)], brand=brand_code)
        await note_look(ledger, look)
        its = await client.retailers.access(
            path, parsed.channel, parsed.recipient_type, parsed.recipient
        )
        return [one for one in every if one.code in its]

    print_rows(output, Retailer._fields, run_at_iys(work))


@app.command()
def add(
    brand_code: BrandArgument,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="JSON: a list of retailers.")
    ],
    *,
    execute: ExecuteOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Add the retailers of a file at İYS, and show the code that İYS gives each.

    Each is an object with İYS's own names: title, name, tckn, tin, city and town are required, and
    mersis, alias, mobile and status may be there; city and town have code and name. Without
    --execute the file is only checked. One that İYS has already is passed over, so what was stopped
    is started again by the same command. Exit code 1 if İYS refuses any.
    """
    retailers = _read(file)
    if not execute:
        say(f"{len(retailers)} would be added at İYS, one call each; to do it: --execute")
        return

    async def work(ledger: Ledger, client: IysClient) -> list[tuple[str, object]]:
        brand = await brands.registered_brand(ledger, brand_code)
        found: list[tuple[str, object]] = []
        for one in retailers:
            await _note(ledger, brand, "add retailer", by, after={"title": one["title"]})
            try:
                found.append((one["title"], await client.retailers.register(brand.path, one)))
            except RefusedError as error:
                found.append((one["title"], error))
        return found

    _show(output, run_at_iys(work))


@app.command()
def remove(
    brand_code: BrandArgument,
    codes: Annotated[list[int], typer.Argument(help="Their codes at İYS.")],
    *,
    execute: ExecuteOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Remove retailers of a brand at İYS.

    İYS removes none that may use a consent: change those first, by events that name others and
    `izin brands retailers`. Without --execute they are only shown. Exit code 1 if any is refused.
    """

    async def work(ledger: Ledger, client: IysClient) -> list[tuple[str, object]]:
        brand = await brands.registered_brand(ledger, brand_code)
        every = {one.code: one for one in await client.retailers.every(brand.path)}
        if unknown := sorted(set(codes) - every.keys()):
            raise SourceError(f"İYS has no retailers {', '.join(map(str, unknown))} of the brand")
        found: list[tuple[str, object]] = []
        for one in (every[code] for code in dict.fromkeys(codes)):
            if one.consents or not execute:
                found.append((one.title, f"may use {one.consents} consents"))
                continue
            await _note(ledger, brand, "remove retailer", by, before={"retailer": one.code})
            try:
                await client.retailers.delete(brand.path, one.code)
                found.append((one.title, one.code))
            except RefusedError as error:
                found.append((one.title, error))
        return found

    found = run_at_iys(work)
    if execute:
        _show(output, found)
        return
    print_rows(output, ("title", "consents"), found)
    say("to remove those that may use none: --execute")


def _read(file: Path) -> Sequence[Mapping[str, Any]]:
    """Return the retailers of a file.

    Raises:
        SourceError: it is none, or one of them lacks a field or has an unknown one.
    """
    try:
        found = orjson.loads(file.read_bytes())
    except ValueError as error:
        raise SourceError(f"{file} is not JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise SourceError(f"{file} is not a list of objects, one for each retailer")
    for number, one in enumerate(found, 1):
        missing = ", ".join(sorted(name for name in _REQUIRED if not one.get(name)))
        if missing or (unknown := ", ".join(sorted(one.keys() - _KNOWN))):
            fault = f"lacks {missing}" if missing else f"has {unknown}, which İYS does not know"
            raise SourceError(f"{file}: retailer {number} {fault}")
    return found


async def _note(  # who does what to what
    ledger: Ledger,
    brand: Brand,
    what: str,
    by: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Write what a person has done at İYS to the history, before it is done."""
    async with ledger.transaction() as connection:
        await record_act(
            connection,
            what,
            brand_key(brand.brand_code),
            by=by,
            now=ledger.clock.now(),
            before=before or {},
            after=after or {},
            customer_id=brand.customer_id,
        )


def _show(output: OutputFormat, found: Iterable[tuple[str, object]]) -> None:
    """Show what came of each; exit 1 if any was refused."""
    rows, counts = [], Counter[str]()
    for title, result in found:
        is_there = isinstance(result, RefusedError) and any(
            one.code in _THERE for one in result.refusals
        )
        outcome = "there already" if is_there else "done" if isinstance(result, int) else "refused"
        counts[outcome] += 1
        code, why = (result, "") if outcome == "done" else (None, str(result))
        rows.append((title, code, outcome, why))
    print_rows(output, ("title", "code", "result", "why"), rows)
    say(", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "nothing to do")
    exit_if(counts["refused"])
