"""`izin simulator clock | weather | citizen | write | requests | reset`: steer a running twin."""

import json
from pathlib import Path
from typing import Annotated

import typer

from iys_simulator.commands.admin_client import (
    DEFAULT_URL,
    Admin,
    BaseUrl,
    Exit,
    Output,
    OutputOption,
    failed,
    print_facts,
    print_json,
    print_table,
)
from iys_simulator.commands.arguments import (
    Brand,
    Channel,
    Citizen,
    Recipient,
    RecipientType,
    Status,
)
from iys_simulator.faults import Delivery, Drop, Operation, Writer
from iys_simulator.other_writers import ON_THE_WEB, channels_of


def clock(
    *,
    now: Annotated[
        str | None, typer.Option(help="Set: YYYY-MM-DD HH:MM:SS in Turkish time, or ISO 8601.")
    ] = None,
    advance: Annotated[float | None, typer.Option(help="Move by seconds.")] = None,
    speed: Annotated[
        float | None, typer.Option(help="Seconds of the twin in a real one; 0 stops its time.")
    ] = None,
    base_url: BaseUrl = DEFAULT_URL,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell the twin's time, or set it, move it, speed it up.

    Limits, batches and pull windows live by this time.
    """
    asked = {"now": now, "advance": advance, "speed": speed}
    order = {name: value for name, value in asked.items() if value is not None}
    with Admin(base_url) as admin:
        answer = admin.post("clock", order) if order else admin.get("clock")
    print_facts(answer.json(), output)


def weather(
    operation: Annotated[
        str | None, typer.Argument(help=f"{' | '.join(Operation)}, or `*` for any but push")
    ] = None,
    *,
    code: Annotated[str | None, typer.Option(help="Refuse with this H-code (H123: busy).")] = None,
    status: Annotated[int | None, typer.Option(help="HTTP status, if not the code's own.")] = None,
    slow: Annotated[float | None, typer.Option(help="Seconds to wait first.")] = None,
    drop: Annotated[Drop | None, typer.Option(help="Cut the connection.")] = None,
    token_expired: Annotated[
        bool, typer.Option("--token-expired", help="Make the call's access token void.")
    ] = False,
    writer: Annotated[
        Writer | None, typer.Option(help="Somebody else writes the call's addresses first.")
    ] = None,
    writes: Annotated[str | None, typer.Option(help="What he writes: ONAY | RET.")] = None,
    delivery: Annotated[Delivery | None, typer.Option(help="What befalls a push.")] = None,
    times: Annotated[
        int | None, typer.Option(min=1, help="How many calls it strikes: 1, or with --lasts all.")
    ] = None,
    until_cancelled: Annotated[
        bool, typer.Option("--until-cancelled", help="Strike without an end.")
    ] = False,
    share: Annotated[
        float | None, typer.Option(help="Strike this part of the calls, drawn by the seed.")
    ] = None,
    after: Annotated[int, typer.Option(min=0, help="Calls that pass first.")] = 0,
    begins: Annotated[float | None, typer.Option(help="Seconds of its time until then.")] = None,
    lasts: Annotated[float | None, typer.Option(help="Seconds of its time: an outage.")] = None,
    script: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A JSON list of orders, as the API takes."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Cancel all orders.")] = False,
    base_url: BaseUrl = DEFAULT_URL,
    output: OutputOption = Output.TABLE,
) -> None:
    """Order faults for calls of an operation, or tell which are still to come."""
    chosen = [operation is not None, script is not None, clear]
    if sum(chosen) > 1:
        raise typer.BadParameter("one of: an operation, --script, --clear")
    asked = {
        "code": code,
        "status": status,
        "slowSeconds": slow,
        "drop": drop,
        "tokenExpired": token_expired or None,
        "writer": writer,
        "writes": writes,
        "delivery": delivery,
        "share": share,
        "begins": begins,
        "lasts": lasts,
        "times": times,
    }
    order: dict[str, object] = {name: value for name, value in asked.items() if value is not None}
    if order and operation is None:
        raise typer.BadParameter("which operation? it stands before the options")
    with Admin(base_url) as admin:
        if clear:
            answer = admin.delete("weather")
        elif script is not None:
            answer = admin.post("weather", _script(script))
        elif operation is not None:
            endless: dict[str, object] = {"times": None} if until_cancelled else {}
            order |= {"operation": operation, "after": after, **endless}
            answer = admin.post("weather", order)
        else:
            answer = admin.get("weather")
    orders = answer.json()["orders"]
    match output:
        case Output.JSON:
            print_json(orders)
        case Output.TABLE:
            titles = ("operation", "times", "share", "after", "what")
            print_table(titles, [_order_row(order) for order in orders])


def citizen(
    recipient: Citizen,
    status: Status,
    *,
    brand: Brand,
    channel: Channel,
    recipient_type: RecipientType = "BIREYSEL",
    source: Annotated[str, typer.Option(help="An İYS source, e.g. IYS_KISAMESAJ.")] = ON_THE_WEB,
    base_url: BaseUrl = DEFAULT_URL,
    output: OutputOption = Output.TABLE,
) -> None:
    """Approve or reject as a citizen does at İYS; the brand's push addresses hear of it."""
    if channel not in channels_of(recipient):
        raise typer.BadParameter(f"{recipient} is not reached by {channel}", param_hint="--type")
    movement = _movement(brand, channel, recipient_type, recipient, status)
    with Admin(base_url) as admin:
        answer = admin.post("citizen", [{**movement, "source": source}])
    print_facts(answer.json()["movements"][0], output)


def write(
    recipient: Recipient,
    status: Status,
    *,
    brand: Brand,
    channel: Channel,
    recipient_type: RecipientType = "BIREYSEL",
    writer: Annotated[Writer, typer.Option(help="Who writes.")] = Writer.PORTAL,
    source: Annotated[str, typer.Option(help="A provider's source.")] = "HS_WEB",
    base_url: BaseUrl = DEFAULT_URL,
    output: OutputOption = Output.TABLE,
) -> None:
    """Save a consent as the provider's portal or another integrator would, by İYS's rules."""
    movement = _movement(brand, channel, recipient_type, recipient, status)
    body = {"writer": writer, "movements": [{**movement, "source": source}]}
    with Admin(base_url) as admin:
        answer = admin.post("writers", body).json()
    if answer["refused"]:
        errors = answer["refused"][0]["errors"]
        raise failed(
            "; ".join(f"{error['code']} {error['message']}" for error in errors), Exit.WRONG
        )
    print_facts(answer["movements"][0], output)


def requests(
    *,
    log: Annotated[bool, typer.Option("--log", help="The latest calls one by one.")] = False,
    operation: Annotated[
        str | None, typer.Option(help="Only calls of this operation (with --log).")
    ] = None,
    base_url: BaseUrl = DEFAULT_URL,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell what was asked and answered: counts per operation, or the calls one by one."""
    if operation is not None and not log:
        raise typer.BadParameter("--operation goes with --log")
    with Admin(base_url) as admin:
        if log:
            asked = {"operation": operation} if operation else {}
            answer = admin.get("requests/log", asked)
            rows = [json.loads(line) for line in answer.text.splitlines()]
            titles = ("sequence", "occurredAt", "milliseconds", "operation", "status", "codes")
            _print_rows(rows, titles, output)
            return
        counts = admin.get("requests").json()
    rows = [
        {"operation": name, **of_operation} for name, of_operation in counts["operations"].items()
    ]
    match output:
        case Output.JSON:
            print_json(counts)
        case Output.TABLE:
            _print_rows(rows, ("operation", "total", "statuses", "codes"), output)


def reset(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, tell what would go.")] = False,
    everything: Annotated[
        bool, typer.Option("--everything", help="Accounts, brands and push addresses too.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Draw by this seed from now on.")] = None,
    base_url: BaseUrl = DEFAULT_URL,
    output: OutputOption = Output.TABLE,
) -> None:
    """Empty registers, batches, counters, log, limits and weather, and put the clock right."""
    with Admin(base_url) as admin:
        if yes:
            order: dict[str, object] = {"everything": everything}
            admin.post("reset", order if seed is None else {**order, "seed": seed})
        print_facts({**admin.get("health").json(), "done": yes}, output)
    if not yes:
        typer.echo("nothing was changed; --yes empties it", err=True)


def _movement(
    brand: int, channel: str, recipient_type: str, recipient: str, status: str
) -> dict[str, object]:
    return {
        "brandCode": brand,
        "type": channel,
        "recipientType": recipient_type,
        "recipient": recipient,
        "status": status,
    }


def _script(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise typer.BadParameter(f"{path}: no JSON: {problem}", param_hint="--script") from None


def _order_row(order: dict[str, object]) -> list[object]:
    known = ("operation", "times", "share", "after")
    what = ", ".join(f"{name}={value}" for name, value in order.items() if name not in known)
    times = "all" if order["times"] is None else order["times"]
    return [order["operation"], times, order["share"], order["after"], what]


def _print_rows(rows: list[dict[str, object]], titles: tuple[str, ...], output: Output) -> None:
    match output:
        case Output.JSON:
            print_json(rows)
        case Output.TABLE:
            print_table(titles, [[_cell(row[title]) for title in titles] for row in rows])


def _cell(value: object) -> object:
    match value:
        case dict():
            return ", ".join(f"{name}: {count}" for name, count in value.items())
        case list():
            return ", ".join(str(part) for part in value)
        case _:
            return value
