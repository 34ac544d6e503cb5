"""Retailers of a brand: add, list, show, delete. Wrong fields are a 400, never a 422."""

from collections.abc import Mapping
from dataclasses import replace

from starlette.responses import Response

from iys_simulator.api.paging import paging_of
from iys_simulator.errors.messages import REFUSALS
from iys_simulator.errors.responses import RefusedError, json_answer, refused
from iys_simulator.gateway.gateway import Call
from iys_simulator.state import Twin
from iys_simulator.store.retailers import PER_BRAND, Retailer, new_retailer, retailer_errors

_FLAGS = {"true": True, "false": False, "1": True, "0": False}


async def add_retailer(twin: Twin, call: Call) -> Response:
    """`POST …/retailers`: answers 201 with a new code of eight digits."""
    fields = call.json()
    if not isinstance(fields, dict):
        raise refused("H016")
    errors = retailer_errors(fields)
    if errors:
        raise RefusedError(400, errors)
    clashes = twin.retailers.clash(call.brand, fields)
    if clashes:
        raise RefusedError(400, clashes)
    if twin.retailers.count(call.brand) >= PER_BRAND:
        raise refused("H067")
    retailer = new_retailer(twin.retailers.free_code(call.brand), fields)
    twin.retailers.put(call.brand.code, retailer)
    return json_answer({"retailerCode": retailer.code}, 201)


async def list_retailers(twin: Twin, call: Call) -> Response:
    """`GET …/retailers?offset&limit&all&short`: by code; `all` is not paged, `short` tells less."""
    asked = call.request.query_params
    is_short = _flag(asked, "short", "H185")
    takes_all = _flag(asked, "all", "H184")
    paging = paging_of(asked, twin.settings, is_swapped=False)
    retailers = twin.retailers.of(call.brand)
    page = retailers if takes_all else paging.of(retailers)
    return json_answer(
        {
            "pagination": {
                "offset": 0 if takes_all else paging.offset,
                "pageSize": len(page),
                "totalCount": len(retailers),
                "currentPage": 1 if takes_all else paging.offset // paging.limit + 1,
            },
            "list": [_told(twin, call, retailer, is_short=is_short) for retailer in page],
        }
    )


async def show_retailer(twin: Twin, call: Call) -> Response:
    """`GET …/retailers/{retailerCode}`: an unknown one is an empty object, not an error."""
    retailer = _find(twin, call)
    return json_answer(_told(twin, call, retailer, is_short=False) if retailer else {})


async def delete_retailer(twin: Twin, call: Call) -> Response:
    """`DELETE …/retailers/{retailerCode}`: H058 if unknown, H061 while a consent names it."""
    retailer = _find(twin, call)
    code = call.request.path_params["retailerCode"]
    if retailer is None:
        raise refused("H058", message=REFUSALS["H058"].message.format(retailerCode=code))
    if _access_count(twin, call, retailer):
        raise refused("H061", message=REFUSALS["H061"].message.format(retailerCode=code))
    twin.retailers.remove(call.brand.code, retailer.code)
    brand = twin.directory.brands[call.brand.code]
    if retailer.code in brand.retailers:  # named by the admin API
        twin.directory.add_brand(replace(brand, retailers=brand.retailers - {retailer.code}))
    return Response("Başarı", media_type="text/plain")


def _find(twin: Twin, call: Call) -> Retailer | None:
    code = str(call.request.path_params["retailerCode"])
    known = code.isascii() and code.isdecimal()
    return twin.retailers.find(call.brand, int(code)) if known else None


def _told(twin: Twin, call: Call, retailer: Retailer, *, is_short: bool) -> dict[str, object]:
    answer = retailer.answer(_access_count(twin, call, retailer))
    if not is_short:
        return answer
    kept = ("title", "city", "retailerAccessCount", "retailerCode", "status")
    return {name: answer[name] for name in kept}


def _access_count(twin: Twin, call: Call, retailer: Retailer) -> int:
    return twin.register_of(call.brand.code).access.count(retailer.code)


def _flag(asked: Mapping[str, str], name: str, code: str) -> bool:
    value = asked.get(name, "false").lower()
    if value not in _FLAGS:
        raise refused(code, location=[name], value=value)
    return _FLAGS[value]
