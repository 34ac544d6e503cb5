"""``izin publish``: one consent change into Kafka."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.text import Text

from izin.consent.due_dates import TURKEY
from izin.consent.errors import SourceError
from izin.consent.violations import Violation
from izin.console.terminal.arguments import TimeOfDayOption
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    err,
    exit_on_error,
    kafka_settings,
    print_rows,
)
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.judgement import RefusedRecord
from izin.producers.mapping.records import EventOrigin, read, validate
from izin.producers.publishing.event_ids import message_event_id, new_event_id
from izin.producers.publishing.event_publisher import Published
from izin.producers.publishing.kafka_publisher import KafkaPublisher
from izin.projections.brand_directory import BrandReader
from izin.runtime.kafka import access_of
from izin.schemas.uuids import CHANCE_BYTES

_ACKNOWLEDGED_WITHIN = timedelta(seconds=30)
_OPTIONS = {
    Field.BRAND_CODE: "--brand",
    Field.CONSENT_DATE: "--date",
    Field.ORIGIN_REF: "--reference",
}
"""Options that are not named as their field is."""


def utc_now() -> datetime:
    """Return the current instant."""
    return datetime.now(UTC)


def publish(
    *,
    brand: Annotated[
        int, typer.Option(min=1, max=2**31 - 1, help="Code of the brand at İYS (brandCode).")
    ],
    channel: Annotated[
        str,
        typer.Option(
            "--type", help="Channel: ARAMA (calls), MESAJ (text messages) or EPOSTA (e-mail)."
        ),
    ],
    recipient: Annotated[
        str, typer.Option(help="Phone number or e-mail address, in any usual notation.")
    ],
    status: Annotated[str, typer.Option(help="ONAY (opt-in) or RET (opt-out).")],
    source: Annotated[str, typer.Option(help="Where it was given: a source of İYS, as HS_WEB.")],
    recipient_type: Annotated[
        str, typer.Option(help="BIREYSEL (consumer) or TACIR (merchant).")
    ] = "BIREYSEL",
    date: Annotated[
        str | None, typer.Option(help="When it was given, in Turkish time. Default: now.")
    ] = None,
    time_of_day: TimeOfDayOption = None,
    reference: Annotated[
        str | None,
        typer.Option(help="Your own reference; the same one with the same --date has no effect."),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Publish one consent (ONAY) or opt-out (RET), and wait until Kafka has it.

    What would keep İYS from registering it is printed beside the result. Exit code 3 if the input
    cannot be used.
    """
    fields = {
        Field.BRAND_CODE: str(brand),
        Field.TYPE: channel,
        Field.RECIPIENT: recipient,
        Field.STATUS: status,
        Field.SOURCE: source,
        Field.RECIPIENT_TYPE: recipient_type,
        Field.CONSENT_DATE: date or "",
        Field.ORIGIN_REF: reference or "",
    }
    with exit_on_error():
        _print(*_publish(fields, DateRules(time_of_day=time_of_day)), output)


def _publish(fields: dict[Field, str], rules: DateRules) -> tuple[Published, tuple[Violation, ...]]:
    """Publish an event; return where it is, and what would keep İYS from registering it."""
    kafka, now = access_of(kafka_settings()), utc_now()
    reference = fields[Field.ORIGIN_REF]
    parsed = read(fields, rules)
    if reference and not fields[Field.CONSENT_DATE]:
        # Now is another instant each time: the repetition would be a second, later event.
        raise typer.BadParameter(
            "it needs --date, so that a repetition is the same event; "
            f"now is --date {now.astimezone(TURKEY):'%Y-%m-%d %H:%M:%S'}",
            param_hint="--reference",
        )
    event_id = (
        message_event_id("cli", reference, "|".join(parsed.identity))
        if reference and parsed.consent_date is not None
        else new_event_id(now, secrets.token_bytes(CHANCE_BYTES))
    )
    origin = EventOrigin(event_id=event_id, origin="cli", received_at=now, is_live=True)
    encoder = kafka.codec()
    validated = validate(parsed, BrandReader(kafka, encoder).load(), origin)
    if isinstance(validated, RefusedRecord):
        raise SourceError("\n".join(map(_described, validated.violations)))
    with KafkaPublisher(kafka, encoder, clock=utc_now) as publisher:
        where = publisher.publish(validated.event, validated.key).result(
            _ACKNOWLEDGED_WITHIN.total_seconds()
        )
    return where, validated.violations


def _described(violation: Violation) -> str:
    """Return what is wrong, beginning with the option it concerns."""
    name = violation.field
    option = (
        _OPTIONS.get(Field(name), f"--{name.replace('_', '-')}") if name in set(Field) else name
    )
    return f"{option}: {violation.reason} ({violation.code})"


def _print(where: Published, violations: tuple[Violation, ...], output: OutputFormat) -> None:
    columns = ("event_id", "topic", "partition", "offset")
    row = (where.event_id, where.topic, where.partition, where.offset)
    match output:
        case OutputFormat.JSON:
            found = [
                {"field": one.field, "code": one.code, "reason": one.reason} for one in violations
            ]
            more = (where.token, found)
            print_rows(output, (*columns, "token", "violations"), [(*row, *more)])
        case OutputFormat.TABLE:
            print_rows(output, columns, [row])
            for one in violations:
                warning = ("published, but İYS would not register it", "yellow")
                err.print(Text.assemble(warning, f": {_described(one)}"), soft_wrap=True)
