"""Options that several commands take, alone or together, and what people type as the ledger has it.

Recipients are given in a file too, or on standard input, so that no shell remembers them.
"""

import os
import pwd
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import TypeAdapter
from typer.core import TyperGroup

from izin.consent import Channel, RecipientType, SourceError
from izin.views.words import normalised, read_instant

_SHORT = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
BrandArgument = Annotated[
    int, typer.Argument(min=1, metavar="BRAND", help="Code of the brand at İYS (brandCode).")
]
BrandOption = Annotated[
    int,
    typer.Option("--brand", min=1, max=2**31 - 1, help="Code of the brand at İYS (brandCode)."),
]
BrandIfAnyOption = Annotated[
    int | None,
    typer.Option("--brand", min=1, max=2**31 - 1, help="Code of the brand at İYS (brandCode)."),
]
OneBrandOption = Annotated[
    int | None, typer.Option("--brand", min=1, help="Only of this brand (brandCode).")
]
BrandsOption = Annotated[
    list[int] | None,
    typer.Option("--brand", min=1, help="Only of this brand (brandCode); repeat it. Else of all."),
]
ChannelOption = Annotated[
    Channel,
    typer.Option(
        "--type",
        case_sensitive=False,
        help="Channel: ARAMA (calls), MESAJ (text messages) or EPOSTA (e-mail).",
    ),
]
OneChannelOption = Annotated[
    Channel | None,
    typer.Option(
        "--type",
        case_sensitive=False,
        help="Channel: ARAMA (calls), MESAJ (text messages) or EPOSTA (e-mail).",
    ),
]
ChannelsOption = Annotated[
    list[Channel] | None,
    typer.Option(
        "--type",
        case_sensitive=False,
        help="Only this channel (ARAMA, MESAJ or EPOSTA); repeat it. Else all.",
    ),
]
RecipientTypeOption = Annotated[
    RecipientType,
    typer.Option(
        "--recipient-type",
        case_sensitive=False,
        help="BIREYSEL (consumer, also a lawyer or a doctor) or TACIR (merchant).",
    ),
]
OneRecipientTypeOption = Annotated[
    RecipientType | None,
    typer.Option(
        "--recipient-type",
        case_sensitive=False,
        help="BIREYSEL (consumer, also a lawyer or a doctor) or TACIR (merchant).",
    ),
]
ExecuteOption = Annotated[
    bool, typer.Option("--execute", help="Do it. Without it the command only says what it would.")
]
ColumnOption = Annotated[
    str | None,
    typer.Option(help="The column of the recipients. Default: the one whose name says so."),
]
AskHistoryOption = Annotated[
    bool,
    typer.Option(
        "--ask", help="Ask İYS for its own history, keep the answer, and compare it with ours."
    ),
]
UnmaskedOption = Annotated[
    bool, typer.Option("--unmasked", help="Show recipients in full: personal data.")
]
RootsOption = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        readable=True,
        help="The roots (PEM) that are trusted for time stamps.",
    ),
]
T = TypeVar("T")
STANDARD_INPUT = Path("-")
RecipientOption = Annotated[
    list[str] | None,
    typer.Option(
        "--recipient",
        help="Of this recipient, or of this canonical key; repeat it. A hyphen (-) reads them from "
        "standard input, one a line, so that no recipient is in the shell's history.",
    ),
]


def filled(text: str) -> str:
    """Return ``text``; an empty one is wrong usage."""
    if not text.strip():
        raise typer.BadParameter("it is empty")
    return text


def filled_if_given(text: str | None) -> str | None:
    """Return ``text`` as :func:`filled` does; None, where the option was left out."""
    return None if text is None else filled(text)


ProcessesOption = Annotated[
    int | None, typer.Option(min=1, help="Number of processes. Default: one a core.")
]
TableArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="A table: CSV, or an .xlsx workbook with one sheet that has rows.",
    ),
]
ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; the history keeps it.", callback=filled)
]
CustomerArgument = Annotated[
    str, typer.Argument(metavar="CUSTOMER", help="Id of the customer.", callback=filled)
]
OneCustomerOption = Annotated[
    str | None, typer.Option("--customer", help="Only of this customer.", callback=filled_if_given)
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


def _parsed(parse: Callable[[str], T], text: str, else_: str) -> T:
    """Return what ``parse`` makes of ``text``; where it cannot, that is wrong usage, as said."""
    try:
        return parse(text)
    except ValueError:
        raise typer.BadParameter(f"{text} {else_}") from None


def _time_of_day(text: str) -> time:
    return _parsed(time.fromisoformat, text, "is no time of day; write HH:MM or HH:MM:SS")


TimeOfDayOption = Annotated[
    time | None,
    typer.Option(
        parser=_time_of_day,
        metavar="HH:MM",
        help="Turkish time of an ONAY whose date has none; without it such an ONAY is refused.",
    ),
]


def duration(text: str) -> timedelta:
    """Return a duration in ISO's notation; anything else is wrong usage."""
    parse = TypeAdapter(timedelta).validate_python
    return _parsed(parse, text, "is no duration; write it as PT24H or P7D")


def instant(text: str) -> datetime:
    """Return an instant in UTC; one without an offset is Turkish time, as in all output."""
    return _parsed(
        read_instant,
        text,
        "is no instant; write it as 2024-01-31T12:00, in Turkish time or with an offset",
    )


def day_of(text: str) -> date:
    """Return a day; anything else is wrong usage."""
    return _parsed(date.fromisoformat, text, "is no day; write it as 2026-01-31")


def begin_of(text: str, now: datetime | None = None) -> datetime:
    """Return the instant from which ``text`` counts, as 24h, 7d, P1D or an instant; anything else
    is wrong usage.
    """
    now = now or datetime.now(UTC)
    try:
        short = _SHORT.fullmatch(text)
        if short is not None:
            return now - timedelta(**{_UNITS[short[2]]: int(short[1])})
        return now - duration(text) if text.startswith("P") else instant(text)
    except (OverflowError, typer.BadParameter):
        raise typer.BadParameter(
            f"{text} says neither for how long nor from when; write it as 24h, 7d, P1D or "
            "2026-03-02T12:00"
        ) from None


def grace_of(text: str) -> timedelta:
    """Return a duration that is not negative; anything else is wrong usage."""
    found = duration(text)
    if found < timedelta(0):
        raise typer.BadParameter("it is negative; PT0S ends the old one at once")
    return found


SinceOption = Annotated[
    datetime | None,
    typer.Option(
        "--since",
        parser=begin_of,
        metavar="TIME",
        help="What came since then: for how long, as 24h, 7d or P1D, or from when, as "
        "2026-03-02T12:00 in Turkish time.",
    ),
]
UntilOption = Annotated[
    datetime | None,
    typer.Option(
        "--until", parser=instant, metavar="INSTANT", help="What came before then, as --since."
    ),
]
GraceOption = Annotated[
    timedelta,
    typer.Option(
        "--grace",
        parser=grace_of,
        metavar="DURATION",
        show_default="PT24H",
        help="How long the old one stays valid too, as PT24H; PT0S: it ends at once.",
    ),
]
ONE_DAY = timedelta(days=1)


def takes(
    parameter: str, made_by: Callable[..., object]
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Have a command take the options of ``made_by``, whose result is its ``parameter``."""
    options = signature(made_by).parameters

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        own = signature(command)

        @wraps(command)
        def taking(**values: object) -> T:
            given = {name: values.pop(name) for name in options}
            return command(**values, **{parameter: made_by(**given)})

        parameters = [
            one
            for name, its in own.parameters.items()
            for one in (options.values() if name == parameter else [its])
        ]
        # The command line passes options by name, so only the order of arguments counts.
        named = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in parameters]
        vars(taking)["__signature__"] = own.replace(parameters=named)
        taking.__annotations__ = {one.name: one.annotation for one in named}
        return taking

    return decorate


def group_with(default: str) -> type[TyperGroup]:
    """Return the class of a group whose arguments begin with its command ``default`` where they
    name none. Its help is the group's own, unless that command is hidden.
    """

    class GroupWithDefault(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Typer's own
            own = {*self.commands, *([] if self.commands[default].hidden else ["--help"])}
            is_named = args[0] in own if args else self.no_args_is_help
            return super().parse_args(ctx, args if is_named else [default, *args])

    return GroupWithDefault


def named_recipients(given: Iterable[str]) -> Iterator[str]:
    """Yield the recipients and keys that are ``given``, as keys spell them; a hyphen stands for
    those on standard input. Raises as :func:`recipients_in`.
    """
    for one in given:
        is_input = one == str(STANDARD_INPUT)
        yield from recipients_in(STANDARD_INPUT) if is_input else [normalised(one)]


def recipients_in(file: Path) -> Iterator[str]:
    """Yield the recipients of a text ``file`` with one in each line, or of standard input (``-``),
    as keys spell them.

    Raises:
        SourceError: the file cannot be read, or a line, which it names, is no recipient.
    """
    try:
        if file == STANDARD_INPUT:
            lines = sys.stdin.read().removeprefix("\ufeff").splitlines()
        else:
            lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{file} cannot be read: {error}") from error
    for number, line in enumerate(map(str.strip, lines), 1):
        try:
            if line:
                yield normalised(line)
        except SourceError as error:
            where = "standard input" if file == STANDARD_INPUT else file
            raise SourceError(f"{where}, line {number}: {error}") from error
