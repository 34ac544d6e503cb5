"""``izin sources``: the mappings of systems that send webhooks of their own."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from izin.cli.terminal import (
    ExitCode,
    OutputFormat,
    OutputOption,
    exit_if,
    kafka_settings,
    print_rows,
    say,
    turkish,
    utc_now,
)
from izin.consent import SourceError
from izin.kafka.clients import codec
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.records import (
    AcceptedRecord,
    EventOrigin,
    RefusedRecord,
    read,
    validate,
)
from izin.producers.mapping.saved import MappingError, mapping_at
from izin.producers.sources import Delivery, PayloadSource, SourceFolder, SourceRecord
from izin.producers.sources.folder import RECIPES, secrets_at
from izin.producers.sources.payloads import URLENCODED
from izin.producers.sources.source import FormMapping, PayloadMapping, SourceMapping
from izin.replay.dead_letters.reading import DeadLetterReader
from izin.runtime.http_server.problems import JSON_TYPE
from izin.runtime.masking import mask
from izin.runtime.settings import IntakeSettings

app = typer.Typer(
    help="Try the mappings by which webhooks of other systems become consents and opt-outs.\n\n"
    "A mapping is a file NAME.toml in the folder IZIN_INTAKE_SOURCES, beside it NAME.secret with "
    "what proves the sender; the intake takes its deliveries at /v1/sources/NAME. A file that "
    "changes is read at the next delivery.",
    no_args_is_help=True,
)
_COLUMNS = ("name", "brands", "sender", "state")
_EVENT = ("brand_code", "type", "recipient", "status", "consent_date", "result")
FolderOption = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, help="Default: IZIN_INTAKE_SOURCES."),
]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A mapping of the folder, or a recipe.")
]


@app.command("list")
def list_(*, folder: FolderOption = None, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the mappings of the folder, and the recipes that are shipped.

    Exit code 1 if a mapping cannot be used.
    """
    folder = folder or IntakeSettings().sources
    rows: list[tuple[object, ...]] = []
    faults = 0
    for name in SourceFolder(folder, SourceMapping).names():
        try:
            mapping = _mapping(name, folder)
            secrets_at(folder or Path(), name)
        except MappingError as error:
            faults += 1
            rows.append((name, "", "", str(error)))
        else:
            brands = " ".join(map(str, mapping.brands))
            rows.append((name, brands, mapping.sender.kind, "in use"))
    mine = {name for name, *_ in rows}
    shipped = sorted({path.stem for path in RECIPES.glob("*.toml")} - mine)
    rows += [(name, "", _mapping(name, None).sender.kind, "recipe") for name in shipped]
    print_rows(output, _COLUMNS, rows)
    exit_if(faults, ExitCode.WRONG)


@app.command()
def show(name: NameArgument, *, folder: FolderOption = None) -> None:
    """Print a mapping of the folder, else the recipe of that name: the beginning of your own."""
    typer.echo(_path(name, folder or IntakeSettings().sources).read_text("utf-8"), nl=False)


@app.command("test")
def try_(
    name: NameArgument,
    payload: Annotated[
        Path | None,
        typer.Argument(dir_okay=False, exists=True, help="A file with the body of a delivery."),
    ] = None,
    *,
    letter: Annotated[
        str | None,
        typer.Option(metavar="LETTER", help="A dead letter (partition/offset) in its place."),
    ] = None,
    headers: Annotated[
        list[str] | None,
        typer.Option("--header", help="'Name: value' of the delivery; repeat it for each."),
    ] = None,
    query: Annotated[
        list[str] | None,
        typer.Option("--query", help="name=value behind the URL; repeat it for each."),
    ] = None,
    form: Annotated[
        bool, typer.Option("--form", help="NAME is a form, and PAYLOAD what it posts.")
    ] = False,
    folder: FolderOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Show what a delivery would become. Nothing is published, and no server is needed.

    With headers or a query it is also checked that they prove the sender. Brands count as
    registered. Exit code 1 if they do not, or if a part of it would become a dead letter, or
    nothing at all.
    """
    if (payload is None) is (letter is None):
        raise typer.BadParameter("give the file of a payload, or --letter", param_hint="PAYLOAD")
    settings = IntakeSettings()
    folder = folder or (settings.forms if form else settings.sources)
    kind, content_type = (FormMapping, URLENCODED) if form else (SourceMapping, JSON_TYPE)
    path = _path(name, folder)
    say(f"by the mapping {'of the recipe ' * (path.parent == RECIPES)}{path}")
    source = PayloadSource[PayloadMapping](name, mapping_at(path, kind), ())
    given = {one.lower(): value for one, value in _pairs(headers, ":", "--header").items()}
    body = payload.read_bytes() if payload else _letter(letter or "", source, given)
    given.setdefault("content-type", content_type)
    delivery = Delivery(given, _pairs(query, "=", "--query"), body)
    said, now, refusal = delivery.payload(), utc_now(), None
    if (headers or query) and source.mapping.sender is not None:
        secrets = secrets_at(folder or Path(), name)
        refusal = source.mapping.sender.refusal(delivery, said, secrets, now)
        say("the sender is proven" if refusal is None else f"{refusal.title}: {refusal.detail}")
    rows = list(_results(source, delivery, said, now))
    print_rows(output, _EVENT, rows)
    if not rows:
        say("it says nothing: no part of it is what [only] names, or none states yes or no")
    is_lost = not rows or any(row[-1] != "an event" for row in rows)
    exit_if(is_lost or refusal is not None, ExitCode.WRONG)


def _results(
    source: PayloadSource[PayloadMapping],
    delivery: Delivery,
    payload: object,
    now: datetime,
) -> Iterator[tuple[object, ...]]:
    directory = BrandDirectory(
        RegisteredBrand(brand_code=code, iys_code=1, customer_id="-", name="-")
        for code in source.mapping.brands
    )
    for found in source.read(delivery, payload):
        if not isinstance(found, SourceRecord):
            yield (*[""] * 5, _why(RefusedRecord(violations=found.violations)))
            continue
        record = read(found.record.values, DateRules()).with_violations(found.record.violations)
        origin = EventOrigin(
            event_id="-", origin=source.origin, received_at=now, is_live=found.record.is_live
        )
        result = validate(record, directory, origin)
        date = result.effective_at if isinstance(result, AcceptedRecord) else record.consent_date
        shown = "" if date is None else turkish(date)
        where = (record.brand_code, record.type, mask(record.recipient), record.status, shown)
        yield (*where, _why(result))


def _why(result: AcceptedRecord | RefusedRecord) -> str:
    if isinstance(result, AcceptedRecord):
        return "an event"
    reasons = "; ".join(f"{one.field}: {one.reason} ({one.code})" for one in result.violations)
    return f"a dead letter: {reasons}"


def _mapping(name: str, folder: Path | None) -> SourceMapping:
    """Return a mapping that can be used; raises MappingError."""
    mapping = mapping_at(_path(name, folder), SourceMapping)
    return PayloadSource(name, mapping, ()).mapping


def _path(name: str, folder: Path | None) -> Path:
    for path in (*([folder / f"{name}.toml"] if folder else []), RECIPES / f"{name}.toml"):
        if path.is_file():
            return path
    raise SourceError(f"there is no mapping {name}; list them: izin sources list")


def _letter(letter: str, source: PayloadSource[PayloadMapping], headers: dict[str, str]) -> bytes:
    """Return the body of a dead letter, and add the ``headers`` that were kept of its delivery."""
    settings = kafka_settings()
    found, _ = DeadLetterReader(settings, codec(settings)).find(letter)
    if found.topic != source.origin:
        raise SourceError(f"dead letter {letter} is of {found.topic}, not of {source.origin}")
    for name, value in found.headers or ():
        headers.setdefault(name, (value or b"").decode("utf-8", "replace"))
    return found.value or b""


def _pairs(given: list[str] | None, mark: str, option: str) -> Mapping[str, str]:
    pairs = {}
    for text in given or ():
        name, found, value = text.partition(mark)
        if not found:
            raise typer.BadParameter(f"write name{mark}value", param_hint=option)
        pairs[name.strip()] = value.strip()
    return pairs
