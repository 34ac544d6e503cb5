"""The overview: do opt-outs flow, what waits, what is overdue."""

from starlette.responses import Response

from izin.web.rights import Right
from izin.web.visit import Screen, Visit


async def show(visit: Visit) -> Response:
    """Show the overview."""
    return visit.page("overview.html")


SCREENS = (Screen(path="/", run=show, right=Right.SEE),)
