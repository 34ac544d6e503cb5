"""The page of the simulator's switches."""

from __future__ import annotations

from izin.simulator.settings import switches

_PAGE = """{note}
# Switches of the simulator

From `izin.simulator.settings`. A switch exists where İYS's documents contradict themselves or one
another, or say nothing; the default is what they say most clearly, the note what the other way is.
Set one at the start (`izin simulator --set lateMode=sliding`), or while it runs
(`POST /__simulator__/settings` with `{{"lateMode": "sliding"}}`). Durations are seconds.

Two contradictions have no switch: SHA-384 has 96 hex digits though İYS's example shows 64, and the
header is `Authorization` though one page says `Authentication`. Where an example and the schema
differ in a number's type (codes of partners' brands), each method does as its example does.

| switch | takes | default | |
|---|---|---|---|
{rows}
"""


def switches_page(note: str) -> str:
    """Return the page, which begins with ``note``."""
    rows = "\n".join(
        f"| `{one.name}` | {one.takes} | `{_show(one.default)}` | {one.meaning} |"
        for one in switches()
    )
    return _PAGE.format(note=note, rows=rows)


def _show(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"
