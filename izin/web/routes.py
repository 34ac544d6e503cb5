"""Every route of the console."""

from starlette.routing import Route

from izin.web import pages
from izin.web.app import ConsoleApp
from izin.web.screens import (
    acts,
    complaints,
    customers,
    deadlines,
    import_rows,
    imports,
    months,
    new_consent,
    overview,
    recipient,
    subscribers,
    worklist,
)
from izin.web.sign_in import SignIn
from izin.web.visit import Screen

SCREENS: tuple[Screen, ...] = (
    *overview.SCREENS,
    *deadlines.SCREENS,
    *recipient.SCREENS,
    *new_consent.SCREENS,
    *imports.SCREENS,
    *import_rows.SCREENS,
    *worklist.SCREENS,
    *customers.SCREENS,
    *complaints.SCREENS,
    *subscribers.SCREENS,
    *months.SCREENS,
    *acts.SCREENS,
)


def routes_of(app: ConsoleApp) -> list[Route]:
    """Return the routes: of screens, of signing in, and of what pages load."""
    return [
        *SignIn(app).routes(),
        *map(app.route, SCREENS),
        Route("/static/{name}", pages.static, methods=["GET"]),
    ]
