"""The pages that opt-out links lead to: no endpoint of İYS's API, so without limit and token.

Opening a link shows a page with a button, so that a mail scanner that follows links withdraws
nobody's consent. The button saves RET with the source IYS_EPOSTA.
"""

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from iys_simulator.pages.templates import HEADERS, template
from iys_simulator.rules.consent import Consent
from iys_simulator.state import SimulatorState
from iys_simulator.store.movements import Origin, WritePath
from iys_simulator.store.opt_out_links import CHANNEL, OptOutLink


def opt_out_routes(state: SimulatorState) -> list[Route]:
    """Return the routes of the pages."""

    async def show(request: Request) -> Response:
        return _show(state, request)

    async def opt_out(request: Request) -> Response:
        return _opt_out(state, request)

    path = "/RET/{name}"
    return [Route(path, show, methods=["GET"]), Route(path, opt_out, methods=["POST"])]


def _show(state: SimulatorState, request: Request) -> Response:
    link = _link(state, request)
    if link is None:
        return _invalid()
    brand = state.directory.brands[link.brand_code]
    return _page(is_form=True, brand=brand.name, recipient=link.recipient)


def _opt_out(state: SimulatorState, request: Request) -> Response:
    link = _link(state, request)
    if link is None:
        return _invalid()
    key = (CHANNEL, link.recipient_type, link.recipient)
    record = state.register_of(link.brand_code).find(key)
    if record is not None and record.status == "ONAY":
        consent = Consent(
            type=CHANNEL,
            recipient_type=link.recipient_type,
            recipient=link.recipient,
            status="RET",
            source="IYS_EPOSTA",
            consent_date=state.now_text(),
        )
        origin = Origin(path=WritePath.CITIZEN, client="citizen", request_id=state.call_id("link"))
        state.save(state.directory.brands[link.brand_code], consent, origin)
    return _page(is_done=True)


def _link(state: SimulatorState, request: Request) -> OptOutLink | None:
    link = state.opt_out_link(str(request.path_params["name"]))
    if link is None or link.expires <= state.clock.seconds():
        return None
    return link if link.brand_code in state.directory.brands else None


def _invalid() -> Response:
    return _page(404)


def _page(
    status: int = 200,
    *,
    is_form: bool = False,
    is_done: bool = False,
    brand: str = "",
    recipient: str = "",
) -> Response:
    content = template("opt_out.html").render(
        is_form=is_form, is_done=is_done, brand=brand, recipient=recipient
    )
    return HTMLResponse(content, status, headers=HEADERS)
