"""`iys-simulator serve`: run the simulator as a process.

There is no default account: accounts and brands are given as `--account` and `--brand`, or added
through the admin API.
"""

import asyncio
import gc
import logging
import signal
import socket
from dataclasses import replace

import typer
import uvicorn
import uvloop

from iys_simulator.app import build_app
from iys_simulator.commands import serve_options as options
from iys_simulator.gateway.connection_drops import DroppableProtocol, drop_connection
from iys_simulator.settings import Settings, UnknownSettingError
from iys_simulator.state import SimulatorState
from iys_simulator.store.accounts import Account, Brand, Directory, Subscription
from iys_simulator.store.database import Database

_DEFAULTS = Settings()
_ACCOUNT_PARTS = 3
_BRAND_PARTS = 3
_HOW_TO = (
    "no account yet: --account username:password:iysCode --brand code:iysCode:name[:activatedAt], "
    "or POST /__simulator__/accounts and /__simulator__/brands"
)


def serve(
    *,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8085,
    account: options.Accounts = None,
    brand: options.Brands = None,
    result_delay: options.ResultDelay = _DEFAULTS.result_delay,
    hidden_window: options.HiddenWindow = _DEFAULTS.hidden_window,
    requests_per_second: options.RequestsPerSecond = _DEFAULTS.requests_per_second,
    sliding_requests: options.SlidingRequests = False,
    token_limit: options.TokenLimit = _DEFAULTS.token_limit,
    flat_token_limit: options.FlatTokenLimit = False,
    status_limit: options.StatusLimit = _DEFAULTS.status_limit,
    sliding_days: options.SlidingDays = False,
    unknown_not_found: options.UnknownNotFound = False,
    misspelt_forbidden: options.MisspeltForbidden = False,
    hex_request_ids: options.HexRequestIds = False,
    allow_http_push: options.AllowHttpPush = False,
    push_retries: options.PushRetries = _DEFAULTS.push_retries,
    switch: options.Switches = None,
    state_file: options.StateFile = None,
    seed: options.Seed = 0,
) -> None:
    """Serve the simulated API until SIGTERM or SIGINT."""
    settings = Settings(
        result_delay=result_delay,
        hidden_window=hidden_window,
        requests_per_second=requests_per_second,
        request_window="sliding" if sliding_requests else "fixed",
        token_limit=token_limit,
        h084_shape="flat" if flat_token_limit else "errors",
        status_limit=status_limit,
        late_mode="sliding" if sliding_days else "end_of_day",
        unknown_status="not_found" if unknown_not_found else "empty",
        forbidden_spelling="code:" if misspelt_forbidden else "code",
        request_id_format="hex" if hex_request_ids else "uuid",
        push_https_required=not allow_http_push,
        push_retries=push_retries,
    )
    try:
        settings = settings.changed_by_words(switch or [])
    except UnknownSettingError as problem:
        raise typer.BadParameter(str(problem), param_hint="--set") from None
    state = SimulatorState(settings, seed=seed, database=Database(state_file))
    _add(state, account or [], brand or [])
    uvloop.run(_listen(state, host, port))


def _add(state: SimulatorState, accounts: list[str], brands: list[str]) -> None:
    directory = state.directory
    for text in accounts:
        account = _account(text, directory)
        known = directory.subscriptions.get(account.iys_code)
        directory.add_account(account, known or Subscription(iys_code=account.iys_code))
    for text in brands:
        directory.add_brand(_brand(text, directory))


async def _listen(state: SimulatorState, host: str, port: int) -> None:
    # Millions of long-lived rows contain no cycles: frequent collections would only cost pauses.
    gc.set_threshold(100_000, 50, 1000)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    config = uvicorn.Config(
        build_app(state, drop_connection),
        http=DroppableProtocol,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=60,
    )
    with socket.create_server((host, port), backlog=1024) as listener:
        server = uvicorn.Server(config)
        # uvicorn stops cleanly on these signals and then raises them again for the handlers it
        # found. A clean stop is enough, so it finds handlers that do nothing.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        ready = asyncio.create_task(_announce_when_ready(server, state, listener))
        await server.serve(sockets=[listener])
        ready.cancel()


async def _announce_when_ready(
    server: uvicorn.Server, state: SimulatorState, listener: socket.socket
) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing to wait for
        await asyncio.sleep(0.01)
    host, port = listener.getsockname()[:2]
    hint = "" if state.directory.accounts else f" ({_HOW_TO})"
    typer.echo(f"İYS simulator ready on http://{host}:{port}{hint}")


def _account(text: str, directory: Directory) -> Account:
    """Return the account of an option, with what the state file has of it beyond that."""
    parts = text.split(":")
    if len(parts) != _ACCOUNT_PARTS or not parts[2].isdecimal():
        raise typer.BadParameter(f"{parts[0]}: username:password:iysCode", param_hint="--account")
    new = Account(username=parts[0], password=parts[1], iys_code=int(parts[2]))
    known = directory.accounts.get(new.username, new)
    return replace(known, password=new.password, iys_code=new.iys_code)


def _brand(text: str, directory: Directory) -> Brand:
    """Return the brand of an option, with what the state file has of it beyond that."""
    parts = text.split(":", _BRAND_PARTS)
    if len(parts) < _BRAND_PARTS or not (parts[0].isdecimal() and parts[1].isdecimal()):
        raise typer.BadParameter(f"{text}: code:iysCode:name[:activatedAt]", param_hint="--brand")
    new = Brand(code=int(parts[0]), iys_code=int(parts[1]), name=parts[2])
    known = directory.brands.get(new.code, new)
    activated_at = parts[_BRAND_PARTS] if len(parts) > _BRAND_PARTS else known.activated_at
    return replace(known, iys_code=new.iys_code, name=new.name, activated_at=activated_at)
