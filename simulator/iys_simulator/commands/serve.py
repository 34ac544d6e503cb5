"""`izin simulator`: start the twin of İYS's API as a process of its own.

There is no default account: whoever may call is named by `--account` and `--brand` or set up over
the admin API.
"""

import asyncio
import gc
import logging
import signal
import socket
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
import uvloop

from iys_simulator.app import build_app
from iys_simulator.gateway.connection_drops import CuttableProtocol, cut
from iys_simulator.settings import Settings, UnknownSettingError
from iys_simulator.state import Twin
from iys_simulator.store.accounts import Account, Brand, Subscription
from iys_simulator.store.database import Database

_DEFAULTS = Settings()
_ACCOUNT_PARTS = 3
_BRAND_PARTS = 3
_HOW_TO = (
    "no account yet: --account username:password:iysCode --brand code:iysCode:name[:activatedAt], "
    "or POST /__simulator__/accounts and /__simulator__/brands"
)


def _env(name: str) -> str:
    return f"IYS_SIMULATOR_{name}"


def serve(
    *,
    host: Annotated[str, typer.Option(envvar=_env("HOST"))] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar=_env("PORT"))] = 8085,
    account: Annotated[
        list[str] | None,
        typer.Option(envvar=_env("ACCOUNT"), help="username:password:iysCode (repeatable)"),
    ] = None,
    brand: Annotated[
        list[str] | None,
        typer.Option(
            envvar=_env("BRAND"),
            help="code:iysCode:name[:activatedAt], the date as YYYY-MM-DD HH:MM:SS (repeatable)",
        ),
    ] = None,
    result_delay: Annotated[
        float, typer.Option(envvar=_env("RESULT_DELAY"), help="seconds until a batch is processed")
    ] = _DEFAULTS.result_delay,
    hidden_window: Annotated[
        float, typer.Option(envvar=_env("HIDDEN_WINDOW"), help="seconds pull hides")
    ] = _DEFAULTS.hidden_window,
    requests_per_second: Annotated[
        int, typer.Option(envvar=_env("REQUESTS_PER_SECOND"), help="H124; 0 is no limit")
    ] = _DEFAULTS.requests_per_second,
    sliding_requests: Annotated[
        bool, typer.Option(envvar=_env("SLIDING_REQUESTS"), help="H124 by sliding seconds")
    ] = False,
    token_limit: Annotated[
        int, typer.Option(envvar=_env("TOKEN_LIMIT"), help="H084, an hour; 0 is no limit")
    ] = _DEFAULTS.token_limit,
    flat_token_limit: Annotated[
        bool, typer.Option(envvar=_env("FLAT_TOKEN_LIMIT"), help="H084 without the envelope")
    ] = False,
    status_limit: Annotated[
        int, typer.Option(envvar=_env("STATUS_LIMIT"), help="H086, an hour; 0 is no limit")
    ] = _DEFAULTS.status_limit,
    sliding_days: Annotated[
        bool, typer.Option(envvar=_env("SLIDING_DAYS"), help="H467 by the time of day")
    ] = False,
    unknown_not_found: Annotated[
        bool, typer.Option(envvar=_env("UNKNOWN_NOT_FOUND"), help="404 for an unknown address")
    ] = False,
    misspelt_forbidden: Annotated[
        bool, typer.Option(envvar=_env("MISSPELT_FORBIDDEN"), help="H353 under the key `code:`")
    ] = False,
    hex_request_ids: Annotated[
        bool, typer.Option(envvar=_env("HEX_REQUEST_IDS"), help="requestIds without dashes")
    ] = False,
    allow_http_push: Annotated[
        bool, typer.Option(envvar=_env("ALLOW_HTTP_PUSH"), help="push to http:// as well")
    ] = False,
    push_retries: Annotated[
        int, typer.Option(envvar=_env("PUSH_RETRIES"), help="tries after a failed delivery")
    ] = _DEFAULTS.push_retries,
    switch: Annotated[
        list[str] | None,
        typer.Option("--set", envvar=_env("SET"), help="any switch: name=value (repeatable)"),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(envvar=_env("STATE"), help="the file that lasts; none is memory")
    ] = None,
    seed: Annotated[
        int, typer.Option(envvar=_env("SEED"), help="what chance draws from, so it can be repeated")
    ] = 0,
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
    twin = Twin(settings, seed=seed, database=Database(state))
    for text in account or []:
        named = _account(text)
        twin.directory.add_account(named, Subscription(iys_code=named.iys_code))
    for text in brand or []:
        twin.directory.add_brand(_brand(text))
    uvloop.run(_listen(twin, host, port))


async def _listen(twin: Twin, host: str, port: int) -> None:
    # Millions of rows live long and hold no cycles: looking through them all the time costs pauses.
    gc.set_threshold(100_000, 50, 1000)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    config = uvicorn.Config(
        build_app(twin, cut),
        http=CuttableProtocol,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=60,
    )
    with socket.create_server((host, port), backlog=1024) as listener:
        server = uvicorn.Server(config)
        # uvicorn stops cleanly on these and then raises them again for the handlers it found; a
        # clean stop is all that is asked for, so it finds handlers that do nothing.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        ready = asyncio.create_task(_tell_when_ready(server, twin, listener))
        await server.serve(sockets=[listener])
        ready.cancel()


async def _tell_when_ready(server: uvicorn.Server, twin: Twin, listener: socket.socket) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing to wait for
        await asyncio.sleep(0.01)
    host, port = listener.getsockname()[:2]
    hint = "" if twin.directory.accounts else f" ({_HOW_TO})"
    typer.echo(f"İYS simulator ready on http://{host}:{port}{hint}")


def _account(text: str) -> Account:
    parts = text.split(":")
    if len(parts) != _ACCOUNT_PARTS or not parts[2].isdecimal():
        raise typer.BadParameter(f"{parts[0]}: username:password:iysCode", param_hint="--account")
    return Account(username=parts[0], password=parts[1], iys_code=int(parts[2]))


def _brand(text: str) -> Brand:
    parts = text.split(":", _BRAND_PARTS)
    if len(parts) < _BRAND_PARTS or not (parts[0].isdecimal() and parts[1].isdecimal()):
        raise typer.BadParameter(f"{text}: code:iysCode:name[:activatedAt]", param_hint="--brand")
    return Brand(
        code=int(parts[0]),
        iys_code=int(parts[1]),
        name=parts[2],
        activated_at=parts[_BRAND_PARTS] if len(parts) > _BRAND_PARTS else None,
    )
