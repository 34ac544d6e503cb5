"""``izin via``: have İYS ask one person for consent, who has called or is in the shop just now."""

import sys
from datetime import timedelta
from typing import Annotated
from uuid import UUID

import typer

from izin.cli.terminal import (
    BrandOption,
    ByOption,
    ExecuteOption,
    OutputFormat,
    OutputOption,
    RecipientTypeOption,
    end_dry_run,
    exit_if,
    filled,
    print_rows,
    turkish,
)
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.consent import Channel, RecipientType, SourceError, Violation, read_recipient
from izin.iys.wire_format.via import ViaStart, ViaWay
from izin.ledger import via
from izin.ledger.brands import registered_brand
from izin.ledger.db import Ledger
from izin.ledger.via import ConsentRequest, Occasion, ViaRefusal, ViaState
from izin.runtime.settings import ViaSettings

app = typer.Typer(
    help="Have İYS ask one person for consent (ViA), by a code or a link that it sends.\n\n"
    "Only on an occasion of the person's own, and never one who has refused (RET): docs/via.md.",
    no_args_is_help=True,
)
RequestArgument = Annotated[
    UUID, typer.Argument(metavar="REQUEST", help="As `izin via ask` or the API returned it.")
]
_CALLS = timedelta(seconds=20)
_COLUMNS = {"request": "request", "state": "state", "result": "result", "until": "until"}
_WHY = {
    ViaRefusal.OPTED_OUT: "they have refused (RET): only they can change that, by themselves",
    ViaRefusal.ASKED_ALREADY: "they are being asked for other types, or in another way",
    ViaRefusal.ASKED_TOO_OFTEN: "they were asked as often in 24 hours as IZIN_VIA_A_DAY allows",
}


def _recipient(text: str, channel: Channel) -> str:
    found = read_recipient(text, channel)
    if isinstance(found, Violation):
        raise typer.BadParameter(found.reason, param_hint="RECIPIENT")
    return found


@app.command()
def ask(
    recipient: Annotated[
        str, typer.Argument(help="Phone number or e-mail address, in any usual notation.")
    ],
    *,
    brand: BrandOption,
    channels: Annotated[
        list[Channel],
        typer.Option("--type", case_sensitive=False, help="For what; repeat it for each channel."),
    ],
    way: Annotated[ViaWay, typer.Option(help="How İYS asks.")],
    form: Annotated[
        str,
        typer.Option(
            "--form-id", callback=filled, help="Id of the form in İYS's portal (VIA Yönetimi)."
        ),
    ],
    occasion: Annotated[Occasion, typer.Option(help="What the person is doing just now.")],
    recipient_type: RecipientTypeOption = RecipientType.BIREYSEL,
    execute: ExecuteOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Have a person asked who is here just now: they give back a code, or open a link.

    Without --execute it says whom it would ask for what. A sink worker calls İYS, and who ordered
    it is written to the history. Exit code 1 if nobody was asked, or that is not known; 3 if the
    person must not be asked.
    """
    found = _recipient(recipient, channels[0])
    if not way.channels.issuperset(channels):
        raise typer.BadParameter("İYS asks so for other types", param_hint="--way")
    end_dry_run(
        f"İYS would ask for {', '.join(channels)} of brand {brand} by {way}", execute=execute
    )

    async def work(ledger: Ledger) -> ConsentRequest:
        known = await registered_brand(ledger, brand)
        start = ViaStart(
            brand_code=brand,
            recipient=found,
            recipient_type=recipient_type,
            channels=tuple(channels),
            way=way,
            form_id=form,
        )
        made = await via.ask(
            ledger,
            start,
            customer_id=known.customer_id,
            occasion=occasion,
            by=by,
            most=ViaSettings().via_a_day,
            now=ledger.clock.now(),
        )
        if isinstance(made, ViaRefusal):
            raise SourceError(f"the person is not asked: {_WHY[made]}")
        return await via.after_calls(ledger, made, within=_CALLS)

    _print(run_on_ledger(work), output)


@app.command()
def code(request: RequestArgument, *, output: OutputOption = OutputFormat.TABLE) -> None:
    """Give İYS the code that the person gives back, read from standard input or a prompt.

    Exit code 1 if İYS has not registered the consent, 3 if no code is awaited.
    """
    text = typer.prompt("code", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()

    async def work(ledger: Ledger) -> ConsentRequest:
        if not await via.give_code(ledger, request, text.strip(), now=ledger.clock.now()):
            raise SourceError("no code is awaited for this request; see izin via show")
        return await via.after_calls(ledger, await _found(ledger, request), within=_CALLS)

    found = run_on_ledger(work)
    _print(found, output, is_done=found.state is ViaState.CONSENTED)


@app.command()
def show(request: RequestArgument, *, output: OutputOption = OutputFormat.TABLE) -> None:
    """Show how far a request is. Exit code 3 if there is none of this name."""
    _print(run_on_ledger(lambda ledger: _found(ledger, request)), output)


async def _found(ledger: Ledger, request: UUID) -> ConsentRequest:
    found = await via.find(ledger, request)
    if found is None:
        raise SourceError("there is no request of this name; give it as it was returned")
    return found


def _print(found: ConsentRequest, output: OutputFormat, *, is_done: bool = True) -> None:
    print_rows(output, _COLUMNS, [[str(found.id), found.state, found.result, turkish(found.until)]])
    exit_if(not is_done or found.state in {ViaState.REFUSED, ViaState.UNKNOWN})
