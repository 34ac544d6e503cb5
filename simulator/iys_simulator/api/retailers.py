"""Retailers of a brand: add, list, show, delete.

What is invalid in a body or a query is a 400, never a 422: the description of these endpoints has
no 422, and their errors have a code and a message only.
"""

from collections.abc import Mapping
from dataclasses import replace

from starlette.responses import Response

from iys_simulator.api.paging import Paging, paging_of
from iys_simulator.errors.messages import NOT_JSON, REFUSALS
from iys_simulator.errors.responses import RefusedError, codes_in, error, json_response, refused
from iys_simulator.gateway.call import Call
from iys_simulator.rules.retailer_fields import retailer_errors
from iys_simulator.settings import Settings
from iys_simulator.state import SimulatorState
from iys_simulator.store.retailers import PER_BRAND, Retailer, new_retailer

_FLAGS = {"true": True, "false": False, "1": True, "0": False}


async def add_retailer(state: SimulatorState, call: Call) -> Response:
    """Add a retailer: `POST …/retailers` responds with 201 and a new code of eight digits.

    Raises:
        RefusedError: H014, H016, H067, H230, H231, H253, or one of `retailer_errors`.
    """
    fields = call.json(NOT_JSON)
    if not isinstance(fields, dict):
        raise refused("H016")
    errors = retailer_errors(fields)
    if errors:
        raise RefusedError(400, errors)
    clashes = state.retailers.clash(call.brand, fields)
    if clashes:
        raise RefusedError(400, clashes)
    if state.retailers.count(call.brand) >= PER_BRAND:
        raise refused("H067")
    retailer = new_retailer(state.retailers.free_code(call.brand), fields)
    state.retailers.put(call.brand.code, retailer)
    return json_response({"retailerCode": retailer.code}, 201)


async def list_retailers(state: SimulatorState, call: Call) -> Response:
    """List retailers by code: `GET …/retailers?offset&limit&all&short`.

    `all` is not paged; `short` has fewer fields.

    Raises:
        RefusedError: H184, H185, or a code of `paging_of`.
    """
    query = call.request.query_params
    is_short = _flag(query, "short", "H185")
    is_all = _flag(query, "all", "H184")
    paging = _paging(query, state.settings)
    retailers = state.retailers.of(call.brand)
    page = retailers if is_all else paging.of(retailers)
    return json_response(
        {
            "pagination": {
                "offset": 0 if is_all else paging.offset,
                "pageSize": len(page),
                "totalCount": len(retailers),
                "currentPage": 1 if is_all else paging.offset // paging.limit + 1,
            },
            "list": [_row(state, call, retailer, is_short=is_short) for retailer in page],
        }
    )


async def show_retailer(state: SimulatorState, call: Call) -> Response:
    """Return one retailer: `GET …/retailers/{retailerCode}`; an unknown one is an empty object."""
    retailer = _find(state, call)
    return json_response(_row(state, call, retailer, is_short=False) if retailer else {})


async def delete_retailer(state: SimulatorState, call: Call) -> Response:
    """Delete a retailer: `DELETE …/retailers/{retailerCode}`.

    Raises:
        RefusedError: H058 if it is unknown, H061 while a consent names it.
    """
    retailer = _find(state, call)
    code = call.request.path_params["retailerCode"]
    if retailer is None:
        raise refused("H058", message=REFUSALS["H058"].message.format(retailerCode=code))
    if _access_count(state, call, retailer):
        raise refused("H061", message=REFUSALS["H061"].message.format(retailerCode=code))
    state.retailers.remove(call.brand.code, retailer.code)
    brand = state.directory.brands[call.brand.code]
    if retailer.code in brand.retailers:  # named by the admin API
        state.directory.add_brand(replace(brand, retailers=brand.retailers - {retailer.code}))
    return Response("Başarı", media_type="text/plain")


def _find(state: SimulatorState, call: Call) -> Retailer | None:
    code = str(call.request.path_params["retailerCode"])
    known = code.isascii() and code.isdecimal()
    return state.retailers.find(call.brand, int(code)) if known else None


def _row(
    state: SimulatorState, call: Call, retailer: Retailer, *, is_short: bool
) -> dict[str, object]:
    row = retailer.as_response(_access_count(state, call, retailer))
    if not is_short:
        return row
    short_fields = ("title", "city", "retailerAccessCount", "retailerCode", "status")
    return {name: row[name] for name in short_fields}


def _access_count(state: SimulatorState, call: Call, retailer: Retailer) -> int:
    return state.register_of(call.brand.code).access.count(retailer.code)


def _paging(query: Mapping[str, str], settings: Settings) -> Paging:
    try:
        return paging_of(query, settings, is_swapped=False)
    except RefusedError as refusal:
        raise RefusedError(400, [error(code) for code in codes_in(refusal.errors)]) from None


def _flag(query: Mapping[str, str], name: str, code: str) -> bool:
    value = query.get(name, "false").lower()
    if value not in _FLAGS:
        raise RefusedError(400, [error(code)])
    return _FLAGS[value]
