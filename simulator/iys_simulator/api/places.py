"""Provinces and districts of Turkey under İYS's codes, for the addresses of retailers.

`places.json` has one row for each province: its code, its name and its districts as code and name.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from starlette.responses import Response

from iys_simulator.errors.responses import json_response, refused
from iys_simulator.gateway.call import Call
from iys_simulator.state import SimulatorState

_FILE = Path(__file__).with_name("places.json")
_LONGEST = 18

Place = Mapping[str, object]


async def list_cities(_: SimulatorState, __: Call) -> Response:
    """List all provinces: `GET /info/city`."""
    return json_response(list(_cities().values()))


async def show_city(_: SimulatorState, call: Call) -> Response:
    """Return one province: `GET /info/city/{code}`; 204 where it is unknown.

    Raises:
        RefusedError: H241, where the code is no number.
    """
    return _one(call, _cities())


async def list_towns(state: SimulatorState, _: Call) -> Response:
    """List all districts: `GET /info/town`."""
    return json_response(list(_towns(state.settings.town_key).values()))


async def show_town(state: SimulatorState, call: Call) -> Response:
    """Return one district: `GET /info/town/{code}`; 204 where it is unknown.

    Raises:
        RefusedError: H241, where the code is no number.
    """
    return _one(call, _towns(state.settings.town_key))


def _one(call: Call, places: Mapping[int, Place]) -> Response:
    code = str(call.request.path_params["code"])
    if not (code.isascii() and code.isdecimal()):
        raise refused("H241")
    found = places.get(int(code)) if len(code) <= _LONGEST else None
    return json_response(found) if found else Response(status_code=204)


@lru_cache(maxsize=1)
def _cities() -> Mapping[int, Place]:
    rows = json.loads(_FILE.read_text(encoding="utf-8"))
    return {row["code"]: {"code": row["code"], "name": row["name"]} for row in rows}


@lru_cache(maxsize=2)
def _towns(city_key: str) -> Mapping[int, Place]:
    rows = json.loads(_FILE.read_text(encoding="utf-8"))
    return {
        code: {"name": name, "code": code, city_key: row["code"]}
        for row in rows
        for code, name in row["towns"]
    }
