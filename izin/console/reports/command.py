"""``izin report``: figures over a time, from the ledger."""

import typer

from izin.console.reports.latency import latency
from izin.console.reports.week import week

app = typer.Typer(help="Report figures over a time, from the ledger.", no_args_is_help=True)


@app.callback()
def report() -> None:
    """Report figures over a time, from the ledger."""


app.command()(latency)
app.command()(week)
