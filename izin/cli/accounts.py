"""``izin accounts``: who signs in to the console, and what each may see and do."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from izin.cli.terminal import (
    ByOption,
    ExecuteOption,
    OutputFormat,
    OutputOption,
    end_dry_run,
    filled,
    print_rows,
    say,
)
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.ledger.console import accounts, sessions
from izin.ledger.console.accounts import AccountRole, is_account_name
from izin.runtime.settings import ConsoleSettings

app = typer.Typer(
    help="Say who signs in to the console (izin console), and what each may see and do.\n\n"
    "A reader sees recipients masked; an operator imports, decides and looks after subscribers; "
    "compliance answers complaints and erases; an admin does all. Each is cut to its customers.",
    no_args_is_help=True,
)
_COLUMNS = {
    "name": "name",
    "role": "role",
    "customers": "customers",
    "has_password": "password",
    "disabled_at": "disabled",
}


def _name(text: str) -> str:
    if not is_account_name(text):
        raise typer.BadParameter(
            "a name has up to 128 letters, digits, and . _ @ + - behind the first"
        )
    return text


NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Name of the account; with an identity provider what IZIN_CONSOLE_OIDC_CLAIM has.",
        callback=_name,
    ),
]


@app.command()
def save(
    name: NameArgument,
    *,
    role: Annotated[AccountRole, typer.Option(help="Role of the account.")],
    customers: Annotated[
        list[str] | None,
        typer.Option("--customer", help="Whose data it sees; repeat it for each."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--every-customer", help="It sees the data of every customer.")
    ] = False,
    by: ByOption,
) -> None:
    """Add an account, or change what one may do, and enable it; print a link to sign in.

    It takes effect with the next request. Who ordered it is written to the history. Exit code 3 if
    a customer is not registered.
    """
    if every is bool(customers):
        raise typer.BadParameter(
            "say whose data it sees: --customer, or --every-customer", param_hint="--customer"
        )
    now = datetime.now(UTC)
    own = None if every else list(map(filled, customers or ()))
    run_on_ledger(lambda ledger: accounts.save(ledger, name, role, own, by=by, now=now))
    say(f"account {name}: {role}, {'every customer' if own is None else ', '.join(own)}")
    _print_link(name, by)


@app.command()
def link(name: NameArgument, *, by: ByOption) -> None:
    """Print a link by which an account signs in once, within a quarter of an hour.

    Give it to nobody else: who made it is written to the history. Exit code 3 if there is no such
    account.
    """
    _print_link(name, by)


def _print_link(name: str, by: str) -> None:
    now, root = datetime.now(UTC), ConsoleSettings().origin
    token = run_on_ledger(lambda ledger: sessions.make_link(ledger, name, by=by, now=now))
    say(f"{name} signs in once, within {sessions.LINK_LASTS.seconds // 60} minutes, at:")
    typer.echo(f"{root}/sign-in/link/{token}")


@app.command("list")
def list_(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the accounts, also those that are disabled."""
    found = run_on_ledger(accounts.every)
    rows = [
        [
            "every" if name == "customers" and value is None else value
            for name, value in ((name, asdict(one)[name]) for name in _COLUMNS)
        ]
        for one in found
    ]
    print_rows(
        output,
        _COLUMNS,
        [
            [" ".join(sorted(one)) if isinstance(one, frozenset) else one for one in row]
            for row in rows
        ],
    )


@app.command()
def disable(name: NameArgument, *, execute: ExecuteOption = False, by: ByOption) -> None:
    """Disable an account and end its sessions, at once.

    Without --execute nothing is changed. Who ordered it is written to the history. Exit code 3 if
    there is no such account.
    """
    end_dry_run(f"account {name} would be disabled", execute=execute)
    now = datetime.now(UTC)
    run_on_ledger(lambda ledger: accounts.disable(ledger, name, by=by, now=now))
    say(f"account {name} is disabled, and its sessions have ended")
