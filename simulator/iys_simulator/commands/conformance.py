"""`iys-simulator conformance`: whether a base URL responds as İYS does."""

import asyncio
from random import Random
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import typer
from rich.console import Console

from iys_simulator.app import build_app
from iys_simulator.commands.admin_client import Exit, Output, OutputOption, failed, print_json
from iys_simulator.conformance.all_cases import all_cases
from iys_simulator.conformance.case import Case
from iys_simulator.conformance.receiver import push_receiver
from iys_simulator.conformance.report import as_json, print_report
from iys_simulator.conformance.runner import Outcome, Result, Runner
from iys_simulator.conformance.target import (
    Credentials,
    SetupError,
    Target,
    UnreachableError,
)
from iys_simulator.state import SimulatorState

IN_PROCESS = "http://simulator.invalid"
"""The base URL of a simulator in this process: nothing is sent over a network."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TIMEOUT = 30.0
_Username = Annotated[
    str | None, typer.Option(envvar="IYS_USERNAME", help="Where there is no admin API.")
]
_Password = Annotated[
    str | None, typer.Option(envvar="IYS_PASSWORD", help="Where there is no admin API.")
]


def conformance(
    *,
    base_url: Annotated[
        str,
        typer.Option(
            "--base-url", help="What is tested, on this machine; without it, a new simulator."
        ),
    ] = IN_PROCESS,
    username: _Username = None,
    password: _Password = None,
    iys_code: Annotated[int | None, typer.Option(help="The account's provider.")] = None,
    brand_code: Annotated[
        int | None,
        typer.Option(help="A brand of the provider; made-up recipients are saved in it."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only cases whose endpoint or code contains this (repeatable)."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the made-up codes and recipients.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run a table of requests and expected responses against a base URL.

    The base URL is on this machine, any other is refused: made-up consents are saved and limits are
    exceeded, which İYS forbids, in its sandbox too. A simulator is set up through its admin API and
    should serve nobody else meanwhile: its settings and its clock are changed, and limits are
    disabled. Another server has the given account, and cases that need more are skipped. Exit code
    0: all cases passed; 1: one failed; 2: it is not on this machine; 4: nothing responds.
    """
    _require_this_machine(base_url)
    credentials = _credentials(username, password, iys_code, brand_code)
    cases = [case for case in all_cases() if _is_selected(case, only or [])]
    if not cases:
        raise typer.BadParameter("no case matches", param_hint="--only")
    random = Random(seed)  # noqa: S311 - made-up recipients, no secret
    try:
        results = asyncio.run(_run(base_url, cases, random, credentials))
    except UnreachableError as problem:
        raise failed(f"nothing responds at {base_url} ({problem})", Exit.UNREACHABLE) from None
    except SetupError as problem:
        raise failed(f"{base_url} cannot be set up: {problem}", Exit.WRONG) from None
    match output:
        case Output.JSON:
            print_json(as_json(base_url, results))
        case Output.TABLE:
            print_report(
                Console(), "a new simulator" if base_url == IN_PROCESS else base_url, results
            )
    outcomes = {result.outcome for result in results}
    if outcomes == {Outcome.SKIPPED}:
        raise failed("every case was skipped", Exit.WRONG)
    raise typer.Exit(Exit.WRONG if Outcome.FAILED in outcomes else Exit.DONE)


def _require_this_machine(base_url: str) -> None:
    if base_url != IN_PROCESS and urlsplit(base_url).hostname not in _LOOPBACK:
        raise typer.BadParameter(
            f"{base_url} is not on this machine ({', '.join(_LOOPBACK)}): cases write consents, "
            "and İYS allows no tests like these, in its sandbox either",
            param_hint="--base-url",
        )


def _credentials(
    username: str | None, password: str | None, iys_code: int | None, brand_code: int | None
) -> Credentials | None:
    if username and password and iys_code is not None and brand_code is not None:
        return Credentials(
            username=username, password=password, iys_code=iys_code, brand_code=brand_code
        )
    if iys_code is not None or brand_code is not None:
        given = (username, password, iys_code, brand_code)
        missing = ("--username", "--password", "--iys-code", "--brand-code")
        names = [name for name, value in zip(missing, given, strict=True) if not value]
        raise typer.BadParameter(f"an account needs {', '.join(names)} too")
    return None


async def _run(
    base_url: str, cases: list[Case], random: Random, credentials: Credentials | None
) -> list[Result]:
    state = SimulatorState() if base_url == IN_PROCESS else None
    transport = httpx.ASGITransport(build_app(state)) if state else None
    async with (
        httpx.AsyncClient(
            transport=transport, base_url=base_url, timeout=_TIMEOUT, trust_env=False
        ) as http,
        push_receiver() as receiver_url,
    ):
        target = await Target.connect(http, random=random, credentials=credentials)
        runner = Runner(target, receiver_url=receiver_url)
        results = await runner.run(cases)
    if state:
        await state.close()
    return results


def _is_selected(case: Case, only: list[str]) -> bool:
    if not only:
        return True
    return any(word in case.endpoint.name or word in case.expected.codes for word in only)
