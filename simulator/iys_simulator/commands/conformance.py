"""`izin simulator conformance`: whether a base URL answers as İYS does."""

import asyncio
from random import Random
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import typer
from rich.console import Console

from iys_simulator.app import build_app
from iys_simulator.commands.admin_client import Exit, Output, OutputOption, failed, print_json
from iys_simulator.conformance.case import Case
from iys_simulator.conformance.counterpart import (
    Counterpart,
    Credentials,
    SetUpError,
    UnreachedError,
)
from iys_simulator.conformance.receiver import receiving
from iys_simulator.conformance.report import as_json, print_report
from iys_simulator.conformance.runner import Outcome, Result, Runner
from iys_simulator.conformance.table import all_cases
from iys_simulator.state import Twin

OWN = "http://twin.invalid"
"""The base URL of a twin in this process: nothing leaves it."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TIMEOUT = 30.0


def conformance(
    *,
    base_url: Annotated[
        str, typer.Option("--base-url", help="What is asked; without it, a twin of its own.")
    ] = OWN,
    username: Annotated[
        str | None, typer.Option(envvar="IYS_USERNAME", help="Where there is no admin API.")
    ] = None,
    password: Annotated[
        str | None, typer.Option(envvar="IYS_PASSWORD", help="Where there is no admin API.")
    ] = None,
    iys_code: Annotated[int | None, typer.Option(help="The account's provider.")] = None,
    brand_code: Annotated[
        int | None, typer.Option(help="A brand of the provider; made-up addresses are saved in it.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only cases of operations or codes like this (repeatable)."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Draw codes and addresses by this.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run the table of requests and expected answers against a base URL.

    Our simulator is set up through its admin API and should serve nobody else meanwhile: its
    settings and its time are changed, and limits are lifted. Elsewhere the given account is used,
    and the cases that need more are skipped. Exit code 0: all that was asked is right; 1: something
    is not; 4: nobody answers.
    """
    given = (username, password, iys_code, brand_code)
    credentials = None
    if username and password and iys_code is not None and brand_code is not None:
        credentials = Credentials(
            username=username, password=password, iys_code=iys_code, brand_code=brand_code
        )
    elif iys_code is not None or brand_code is not None:
        missing = ("--username", "--password", "--iys-code", "--brand-code")
        names = [name for name, value in zip(missing, given, strict=True) if not value]
        raise typer.BadParameter(f"an account needs {', '.join(names)} too")
    cases = [case for case in all_cases() if _is_meant(case, only or [])]
    if not cases:
        raise typer.BadParameter("no case is like this", param_hint="--only")
    chance = Random(seed)  # noqa: S311 - made-up addresses, no secret
    try:
        results = asyncio.run(_asked(base_url, cases, chance, credentials))
    except UnreachedError as problem:
        raise failed(f"nobody answers at {base_url} ({problem})", Exit.UNREACHED) from None
    except SetUpError as problem:
        raise failed(f"{base_url} cannot be set up: {problem}", Exit.WRONG) from None
    match output:
        case Output.JSON:
            print_json(as_json(base_url, results))
        case Output.TABLE:
            print_report(Console(), "a new twin" if base_url == OWN else base_url, results)
    outcomes = {result.outcome for result in results}
    if outcomes == {Outcome.SKIPPED}:
        raise failed("nothing could be asked", Exit.WRONG)
    raise typer.Exit(Exit.WRONG if Outcome.FAILED in outcomes else Exit.DONE)


async def _asked(
    base_url: str, cases: list[Case], chance: Random, credentials: Credentials | None
) -> list[Result]:
    twin = Twin() if base_url == OWN else None
    transport = httpx.ASGITransport(build_app(twin)) if twin else None
    is_near = twin is not None or urlsplit(base_url).hostname in _LOOPBACK
    async with (
        httpx.AsyncClient(
            transport=transport, base_url=base_url, timeout=_TIMEOUT, trust_env=False
        ) as http,
        receiving() as receiver_url,
    ):
        counterpart = await Counterpart.at(http, chance=chance, credentials=credentials)
        runner = Runner(counterpart, receiver_url=receiver_url if is_near else None)
        results = await runner.run(cases)
    if twin:
        await twin.close()
    return results


def _is_meant(case: Case, only: list[str]) -> bool:
    if not only:
        return True
    return any(word in case.operation.name or word in case.expected.codes for word in only)
