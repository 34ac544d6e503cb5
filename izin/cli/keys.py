"""``izin keys``: API keys, the identity of machines at our endpoints."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from izin.cli.terminal import (
    ONE_DAY,
    BrandsOption,
    ByOption,
    ChannelsOption,
    ExecuteOption,
    GraceOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    end_dry_run,
    filled,
    instant,
    print_rows,
    say,
    turkish,
)
from izin.cli.terminal.ledger_session import run_on_ledger, topic_messages
from izin.ledger.db import Ledger
from izin.ledger.record import UnknownKeyError
from izin.ledger.registry import api_keys
from izin.schemas.api_keys import ApiKey, Scope, is_key_id, is_key_name, new_api_key, new_family
from izin.views.cut import CustomerCut, cut_to

app = typer.Typer(
    help="Make and revoke API keys, by which machines are known at our endpoints.\n\n"
    "A key may do what its scopes say, for its customers alone, and is the actor of the events "
    "that it publishes. A sink worker publishes each change to the endpoints.",
    no_args_is_help=True,
)

_COLUMNS = {
    "id": "id",
    "name": "name",
    "state": "state",
    "scopes": "scopes",
    "customers": "customers",
    "brands": "brands",
    "channels": "channels",
    "created_at": "created",
    "expires_at": "expires",
    "revoked_at": "revoked",
}


def _name(text: str) -> str:
    if not is_key_name(text) or is_key_id(text):
        raise typer.BadParameter(
            "a name has up to 64 letters, digits, dots, hyphens and underscores, and is no key's id"
        )
    return text


NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Name of the key, such as its system.", callback=_name),
]


@app.command()
def create(
    name: NameArgument,
    *,
    scopes: Annotated[
        list[Scope] | None, typer.Option("--scope", help="What it may do; repeat it for each.")
    ] = None,
    is_test: Annotated[
        bool,
        typer.Option("--test", help="It may try to publish: nothing that it sends is published."),
    ] = False,
    customers: Annotated[
        list[str], typer.Option("--customer", help="For whom; repeat it for each.")
    ],
    brands: BrandsOption = None,
    channels: ChannelsOption = None,
    expires: Annotated[
        datetime | None,
        typer.Option(
            parser=instant,
            metavar="DATE",
            help="From when on it is refused, in Turkish time, as 2027-01-31T12:00; else never.",
        ),
    ] = None,
    by: ByOption,
) -> None:
    """Make a key and print it, once: it is stored nowhere, only a hash of its secret part.

    The endpoints accept it as soon as a sink worker has published it. Who ordered it is written to
    the history. Exit code 3 if the name is taken, or a customer or brand is not registered.
    """
    if is_test is bool(scopes):
        raise typer.BadParameter(
            "say what it may do: --scope, or --test alone", param_hint="--scope"
        )
    scopes = scopes or [Scope.TEST]
    now = datetime.now(UTC)
    if expires is not None and expires <= now:
        raise typer.BadParameter("it is over already", param_hint="--expires")
    text, secret_hash = new_api_key(key_id := new_family(secrets.token_bytes), secrets.token_bytes)
    key = ApiKey(
        id=key_id,
        name=name,
        secret_hash=secret_hash,
        scopes=frozenset(map(str, scopes)),
        customers=frozenset(map(filled, customers)),
        brands=frozenset(brands or ()),
        channels=frozenset(map(str, channels or ())),
        created_at=now,
        expires_at=expires,
    )
    run_on_ledger(lambda ledger: api_keys.create(ledger, topic_messages(), key, by=by, now=now))
    say(f"key {name} ({key_id}) may {_may(key)}; it is printed once:")
    typer.echo(text)


@app.command("list")
def list_(*, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the keys, also those that ended, and what each may do. With --customer, of a key that is
    of several customers only what is this one's.
    """
    found, cut = run_on_ledger(lambda ledger: _listed(ledger, customer))
    now = datetime.now(UTC)
    rows = []
    for key in found:
        shown = key.to_avro()
        shown["state"] = _state(key, now)
        if customer is not None:
            shown["customers"] = [customer]
            shown["brands"] = sorted(key.brands & cut.brand_codes)
        for many in ("scopes", "customers", "brands", "channels"):
            shown[many] = " ".join(map(str, shown[many])) or "all"
        rows.append([shown[column] for column in _COLUMNS])
    print_rows(output, _COLUMNS, rows)


async def _listed(ledger: Ledger, customer: str | None) -> tuple[list[ApiKey], CustomerCut]:
    cut = await cut_to(ledger, customer)
    return [key for key in await api_keys.every(ledger) if cut.has(key.customers)], cut


@app.command()
def rotate(
    name: NameArgument,
    *,
    grace: GraceOption = ONE_DAY,
    by: ByOption,
) -> None:
    """Replace a key by a new one of its name that may do the same, and print that once.

    The old one stays valid for the grace, in which the system that has it is given the new one. Who
    ordered it is written to the history. Exit code 3 if no key of the name is left, or it expired.
    """
    now, messages = datetime.now(UTC), topic_messages()
    known = {key.name: key for key in run_on_ledger(api_keys.every)}
    if name not in known:
        raise UnknownKeyError(name)
    new_id = known[name].next_id
    text, secret_hash = new_api_key(new_id, secrets.token_bytes)
    old, new = run_on_ledger(
        lambda ledger: api_keys.rotate(
            ledger,
            messages,
            name,
            secret_hash=secret_hash,
            new_id=new_id,
            grace=grace,
            by=by,
            now=now,
        )
    )
    say(f"key {old.id} is valid until {turkish(old.expires_at)}; {new.id} is printed once:")
    typer.echo(text)


@app.command()
def revoke(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Name: all its valid keys. Id: this one alone.")
    ],
    *,
    execute: ExecuteOption = False,
    by: ByOption,
) -> None:
    """Revoke a key for good: every endpoint that reaches Kafka refuses it within two seconds.

    Without --execute it only names what would stop. Who ordered it is written to the history. Exit
    code 3 if no such key is left.
    """
    now, messages = datetime.now(UTC), topic_messages()
    found = [
        one
        for one in run_on_ledger(api_keys.every)
        if key in {one.name, one.id} and one.revoked_at is None
    ]
    if not found:
        raise UnknownKeyError(key)
    say(
        *(
            f"key {one.name} ({one.id}, {_state(one, now)}) may no longer {_may(one)}"
            for one in found
        )
    )
    end_dry_run(f"{_counted(found)} would be revoked", execute=execute)
    revoked = run_on_ledger(
        lambda ledger: api_keys.revoke(ledger, messages, [key.id for key in found], by=by, now=now)
    )
    say(f"{_counted(revoked)} revoked")


def _may(key: ApiKey) -> str:
    """Return what a key may do, and for whom, in words."""
    shown = key.to_avro()
    brands = f", brands {' '.join(map(str, shown['brands']))}" if key.brands else ""
    channels = f", channels {' '.join(shown['channels'])}" if key.channels else ""
    return f"{', '.join(shown['scopes'])} for {', '.join(shown['customers'])}{brands}{channels}"


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "valid" if key.is_valid(now) else "expired"


def _counted(keys: Sequence[ApiKey]) -> str:
    return "1 key" if len(keys) == 1 else f"{len(keys)} keys"
