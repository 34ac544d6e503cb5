"""``izin publish``: one consent change into Kafka."""

import secrets
from datetime import timedelta
from pkgutil import resolve_name
from typing import Annotated

import typer
from rich.text import Text

from izin.cli.terminal import (
    BrandIfAnyOption,
    ByIfKnownOption,
    OutputFormat,
    OutputOption,
    TimeOfDayOption,
    err,
    kafka_settings,
    print_rows,
    utc_now,
)
from izin.consent import TURKEY, SourceError, Violation
from izin.kafka.clients import access_of
from izin.kafka.tables.brand_directory import BrandReader
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.records import (
    AcceptedRecord,
    EventOrigin,
    MappedRecord,
    RefusedRecord,
    read,
    validate,
)
from izin.producers.publishing.event_ids import message_event_id
from izin.producers.publishing.publisher import KafkaPublisher, Published
from izin.schemas.uuids import CHANCE_BYTES, uuid7

_ACKNOWLEDGED_WITHIN = timedelta(seconds=30)
_OPTIONS = {
    Field.BRAND_CODE: "--brand",
    Field.CONSENT_DATE: "--date",
    Field.ORIGIN_REF: "--reference",
}
"""Options that are not named as their field is."""
_NEEDED = (Field.BRAND_CODE, Field.TYPE, Field.RECIPIENT, Field.STATUS, Field.SOURCE)
"""What every event needs."""


ReferenceOption = Annotated[
    str | None,
    typer.Option(help="Your own reference; the same one with the same --date has no effect."),
]
CorrectsOption = Annotated[
    str | None,
    typer.Option(
        metavar="LETTER",
        help="A dead letter (partition/offset) that this corrects. What is not given is taken from "
        "it; an ONAY needs --date, unless the letter is an ONAY with a valid one.",
    ),
]


def publish(
    *,
    brand: BrandIfAnyOption = None,
    channel: Annotated[
        str,
        typer.Option(
            "--type", help="Channel: ARAMA (calls), MESAJ (text messages) or EPOSTA (e-mail)."
        ),
    ] = "",
    recipient: Annotated[
        str, typer.Option(help="Phone number or e-mail address, in any usual notation.")
    ] = "",
    status: Annotated[str, typer.Option(help="ONAY (opt-in) or RET (opt-out).")] = "",
    source: Annotated[
        str, typer.Option(help="Where it was given: a source of İYS, as HS_WEB.")
    ] = "",
    recipient_type: Annotated[
        str, typer.Option(help="BIREYSEL (consumer, the default) or TACIR (merchant).")
    ] = "",
    date: Annotated[
        str | None, typer.Option(help="When it was given, in Turkish time. Default: now.")
    ] = None,
    time_of_day: TimeOfDayOption = None,
    reference: ReferenceOption = None,
    corrects: CorrectsOption = None,
    by: ByIfKnownOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Publish one consent (ONAY) or opt-out (RET), and wait until Kafka has it.

    It needs --brand, --type, --recipient, --status and --source; with --corrects only what the dead
    letter lacks. What would keep İYS from registering it is printed beside the result. A dead
    letter that it corrects is acknowledged, with who did it and the new event's id. Exit code 3 if
    the input cannot be used, or the dead letter is unknown or corrected already.
    """
    fields = {
        Field.BRAND_CODE: "" if brand is None else str(brand),
        Field.TYPE: channel,
        Field.RECIPIENT: recipient,
        Field.STATUS: status,
        Field.SOURCE: source,
        Field.RECIPIENT_TYPE: recipient_type,
        Field.CONSENT_DATE: date or "",
        Field.ORIGIN_REF: reference or "",
    }
    rules = DateRules(time_of_day=time_of_day)
    if corrects is None:
        if missing := [_option(name) for name in _NEEDED if not fields[name]]:
            why = "it is needed, unless --corrects is given"
            raise typer.BadParameter(why, param_hint=missing[0])
        _print(*_publish({**fields, Field.ACTOR: by}, rules), output)
        return
    if not by:
        raise typer.BadParameter("say who corrects it, with --by or IZIN_ACTOR", param_hint="--by")
    # Imported where it is used: it reads dead letters and the ledger, which others do not need.
    publish_correction = resolve_name("izin.cli.dead_letters.command:publish_correction")
    where, violations = publish_correction(corrects, fields, rules, by=by, now=utc_now())
    _print(where, violations, output)


def publish_record(parsed: MappedRecord, origin: EventOrigin) -> tuple[Published, AcceptedRecord]:
    """Publish an event; return where it is, and the event.

    Raises:
        SourceError: it is refused.
        OurError: Kafka cannot be reached.
    """
    kafka = access_of(kafka_settings())
    encoder = kafka.codec()
    validated = validate(parsed, BrandReader(kafka, encoder).load(), origin)
    if isinstance(validated, RefusedRecord):
        raise SourceError("\n".join(map(_described, validated.violations)))
    with KafkaPublisher(kafka, encoder, clock=utc_now) as publisher:
        where = publisher.publish(validated.event, validated.key).result(
            _ACKNOWLEDGED_WITHIN.total_seconds()
        )
    return where, validated


def _publish(fields: dict[Field, str], rules: DateRules) -> tuple[Published, tuple[Violation, ...]]:
    """Publish an event; return where it is, and what would keep İYS from registering it."""
    now, parsed = utc_now(), read(fields, rules)
    reference = fields[Field.ORIGIN_REF]
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
        else uuid7(now, secrets.token_bytes(CHANCE_BYTES))
    )
    where, accepted = publish_record(
        parsed, EventOrigin(event_id=event_id, origin="cli", received_at=now, is_live=True)
    )
    return where, accepted.violations


def _option(name: Field) -> str:
    return _OPTIONS.get(name, f"--{name.replace('_', '-')}")


def _described(violation: Violation) -> str:
    """Return what is wrong, beginning with the option it concerns."""
    name = violation.field
    option = _option(Field(name)) if name in set(Field) else name
    return f"{option}: {violation.reason} ({violation.code})"


def _print(where: Published, violations: tuple[Violation, ...], output: OutputFormat) -> None:
    columns = ("event_id", "topic", "partition", "offset")
    row = (where.event_id, where.topic, where.partition, where.offset)
    found = [
        {"field": violation.field, "code": violation.code, "reason": violation.reason}
        for violation in violations
    ]
    known = {**dict(zip(columns, row, strict=True)), "token": where.token, "violations": found}
    print_rows(output, columns, [row], as_json=[known])
    for one in violations if output is OutputFormat.TABLE else ():
        warning = ("published, but İYS would not register it", "yellow")
        err.print(Text.assemble(warning, f": {_described(one)}"), soft_wrap=True)
