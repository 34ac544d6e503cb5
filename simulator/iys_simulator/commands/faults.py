"""`iys-simulator faults`: add, list and cancel the fault rules of a running simulator."""

import json
from pathlib import Path
from typing import Annotated

import typer

from iys_simulator.commands.admin_client import (
    DEFAULT_URL,
    AdminClient,
    BaseUrl,
    Output,
    OutputOption,
    print_json,
    print_table,
)
from iys_simulator.faults import DeliveryFault, Drop, Operation, Writer

_Operation = Annotated[
    str | None, typer.Argument(help=f"{' | '.join(Operation)}, or `*` for any but push")
]
_Code = Annotated[str | None, typer.Option(help="Refuse with this H-code (H123: busy).")]
_Status = Annotated[int | None, typer.Option(help="HTTP status, if not the code's own.")]
_Slow = Annotated[float | None, typer.Option(help="Seconds to wait first.")]
_Drop = Annotated[Drop | None, typer.Option(help="Drop the connection.")]
_TokenExpired = Annotated[
    bool, typer.Option("--token-expired", help="Revoke the call's access token.")
]
_Writer = Annotated[
    Writer | None, typer.Option(help="Another writer writes the call's recipients first.")
]
_Writes = Annotated[str | None, typer.Option(help="What that writer writes: ONAY | RET.")]
_Delivery = Annotated[DeliveryFault | None, typer.Option(help="The fault of a push delivery.")]
_Times = Annotated[int | None, typer.Option(min=1, help="Number of calls: 1, or all with --lasts.")]
_UntilCancelled = Annotated[
    bool, typer.Option("--until-cancelled", help="Every call, without an end.")
]
_Share = Annotated[
    float | None, typer.Option(help="Only this share of the calls, chosen by the seed.")
]
_After = Annotated[int, typer.Option(min=0, help="Number of calls that pass first.")]
_Begins = Annotated[float | None, typer.Option(help="Simulated seconds until it begins.")]
_Lasts = Annotated[
    float | None, typer.Option(help="Simulated seconds that it lasts, as an outage does.")
]
_Script = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="A JSON list of rules, as POST /__simulator__/faults."
    ),
]
_Clear = Annotated[bool, typer.Option("--clear", help="Cancel all rules.")]


def faults(
    operation: _Operation = None,
    *,
    code: _Code = None,
    status: _Status = None,
    slow: _Slow = None,
    drop: _Drop = None,
    token_expired: _TokenExpired = False,
    writer: _Writer = None,
    writes: _Writes = None,
    delivery: _Delivery = None,
    times: _Times = None,
    until_cancelled: _UntilCancelled = False,
    share: _Share = None,
    after: _After = 0,
    begins: _Begins = None,
    lasts: _Lasts = None,
    script: _Script = None,
    clear: _Clear = False,
    base_url: BaseUrl = DEFAULT_URL,
    output: OutputOption = Output.TABLE,
) -> None:
    """Inject faults into calls of an operation, or list the rules that are left."""
    if sum([operation is not None, script is not None, clear]) > 1:
        raise typer.BadParameter("one of: an operation, --script, --clear")
    options = {
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
    rule: dict[str, object] = {name: it for name, it in options.items() if it is not None}
    if rule and operation is None:
        raise typer.BadParameter("which operation? It comes before the options")
    if operation is not None:
        endless: dict[str, object] = {"times": None} if until_cancelled else {}
        rule |= {"operation": operation, "after": after, **endless}
    _print_rules(_send(base_url, rule, script, clear=clear), output)


def _send(
    base_url: str, rule: dict[str, object], script: Path | None, *, clear: bool
) -> list[dict[str, object]]:
    with AdminClient(base_url) as admin:
        if clear:
            response = admin.delete("faults")
        elif script is not None:
            response = admin.post("faults", _read(script))
        elif rule:
            response = admin.post("faults", rule)
        else:
            response = admin.get("faults")
    rules: list[dict[str, object]] = response.json()["rules"]
    return rules


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise typer.BadParameter(f"{path}: no JSON: {problem}", param_hint="--script") from None


def _print_rules(rules: list[dict[str, object]], output: Output) -> None:
    match output:
        case Output.JSON:
            print_json(rules)
        case Output.TABLE:
            titles = ("operation", "times", "share", "after", "fault")
            print_table(titles, [_cells(rule) for rule in rules])


def _cells(rule: dict[str, object]) -> list[object]:
    columns = ("operation", "times", "share", "after")
    fault = ", ".join(f"{name}={value}" for name, value in rule.items() if name not in columns)
    times = "all" if rule["times"] is None else rule["times"]
    return [rule["operation"], times, rule["share"], rule["after"], fault]
