"""Options that several commands take, and what people type as the ledger stores it."""

import os
import pwd
import re
import socket
from datetime import UTC, datetime, time, timedelta
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from izin.consent.due_dates import TURKEY
from izin.consent.emails import read_email
from izin.consent.errors import SourceError
from izin.consent.phones import read_phone

OFFSET_RANGE = "TOPIC/PARTITION/FIRST-LAST"
"""Records of a partition, as :func:`offset_range` reads them."""
_RANGE = re.compile(
    r"(?P<topic>[^/]+)/(?P<partition>\d{1,9})/(?P<first>\d{1,18})-(?P<last>\d{1,18})"
)
_DURATION = TypeAdapter(timedelta)
SLASHES = 3
"""Of a canonical key, ``brand_code/type/recipient_type/recipient``."""


def filled(text: str) -> str:
    """Return ``text``; an empty one is wrong usage."""
    if not text.strip():
        raise typer.BadParameter("it is empty")
    return text


def filled_if_given(text: str | None) -> str | None:
    """Return ``text`` as :func:`filled` does; None, where the option was left out."""
    return None if text is None else filled(text)


BrandArgument = Annotated[
    int, typer.Argument(min=1, metavar="BRAND", help="Code of the brand at İYS (brandCode).")
]
CustomerArgument = Annotated[
    str, typer.Argument(metavar="CUSTOMER", help="Id of the customer.", callback=filled)
]
ExecuteOption = Annotated[
    bool, typer.Option("--execute", help="Do it. Without it the command only says what it would.")
]
OneCustomerOption = Annotated[
    str | None, typer.Option("--customer", help="Only of this customer.", callback=filled_if_given)
]
ColumnOption = Annotated[
    str | None,
    typer.Option(help="The column of the recipients. Default: the one whose name says so."),
]


def _system_actor() -> str:
    """Return the operating system's user and its machine.

    Raises:
        BadParameter: The user has no name, so nobody would know later who it was.
    """
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise typer.BadParameter(
            "the system has no name for its user: say who orders it, with --by or IZIN_ACTOR"
        ) from None
    return f"{name}@{socket.gethostname()}"


def actor_if_named() -> str:
    """Return the system's user and machine, for a command that can do without; empty where the user
    has no name.
    """
    try:
        return _system_actor()
    except typer.BadParameter:
        return ""


ByOption = Annotated[
    str,
    typer.Option(
        "--by",
        envvar="IZIN_ACTOR",
        default_factory=_system_actor,
        show_default="the system's user and machine",
        callback=filled,
        help="Who does it; the history keeps the name.",
    ),
]
"""Every command that changes the ledger, or shows people, takes it."""


ByIfKnownOption = Annotated[
    str,
    typer.Option(
        "--by",
        envvar="IZIN_ACTOR",
        default_factory=actor_if_named,
        show_default="the system's user and machine",
        help="Who does it; the event or the history keeps the name.",
    ),
]
"""For a command that can do without, with most of its options."""


def _time_of_day(text: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text} is no time of day; write HH:MM or HH:MM:SS") from None


TimeOfDayOption = Annotated[
    time | None,
    typer.Option(
        parser=_time_of_day,
        metavar="HH:MM",
        help="Turkish time of an ONAY whose date has none; without it such an ONAY is refused.",
    ),
]


def normalised(text: str) -> str:
    """Return a recipient as keys spell it, alone or at the end of a canonical key.

    Raises:
        SourceError: It is neither a phone number nor an e-mail address.
    """
    if is_key(text):
        *whose, recipient = text.split("/", SLASHES)
        return "/".join((*whose, normalised(recipient)))
    read = read_email(text) if "@" in text else read_phone(text)
    if isinstance(read, str):
        return read
    raise SourceError(f"{read.code}: {read.reason}")


def is_key(text: str) -> bool:
    """Return whether ``text`` is a canonical key rather than a recipient alone."""
    return text.count("/") >= SLASHES


def duration(text: str) -> timedelta:
    """Return a duration in ISO's notation; anything else is wrong usage."""
    try:
        found: timedelta = _DURATION.validate_python(text)
    except ValidationError:
        raise typer.BadParameter(f"{text} is no duration; write it as PT24H or P7D") from None
    return found


def instant(text: str) -> datetime:
    """Return an instant in UTC; one without an offset is Turkish time, as in all output."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text} is no instant; write it as 2024-01-31T12:00, in Turkish time or with an offset"
        ) from None
    return (given if given.tzinfo else given.replace(tzinfo=TURKEY)).astimezone(UTC)


def offset_range(text: str) -> tuple[tuple[str, int], int, int]:
    """Return topic and partition, the first and the last offset of ``OFFSET_RANGE``; anything else
    is wrong usage.
    """
    found = _RANGE.fullmatch(text)
    if found is None or int(found["first"]) > int(found["last"]):
        raise typer.BadParameter(
            f"{text} is no range of offsets; write it as consent-opt-outs/3/17-20"
        )
    place = found["topic"], int(found["partition"])
    return place, int(found["first"]), int(found["last"])
