"""Provinces and districts of Turkey under İYS's codes, for the addresses of retailers.

`places.json` holds a row a province: its code, its name and its districts as code and name.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from starlette.responses import Response

from iys_simulator.errors.responses import json_answer, refused
from iys_simulator.gateway.gateway import Call
from iys_simulator.state import Twin

_FILE = Path(__file__).with_name("places.json")
_LONGEST = 18

Place = Mapping[str, object]


async def cities(_: Twin, __: Call) -> Response:
    """`GET /info/city`: all provinces."""
    return json_answer(list(_cities().values()))


async def city(_: Twin, call: Call) -> Response:
    """`GET /info/city/{code}`: one province; 204 where there is none."""
    return _one(call, _cities())


async def towns(twin: Twin, _: Call) -> Response:
    """`GET /info/town`: all districts."""
    return json_answer(list(_towns(twin.settings.town_key).values()))


async def town(twin: Twin, call: Call) -> Response:
    """`GET /info/town/{code}`: one district; 204 where there is none."""
    return _one(call, _towns(twin.settings.town_key))


def _one(call: Call, places: Mapping[int, Place]) -> Response:
    code = str(call.request.path_params["code"])
    if not (code.isascii() and code.isdecimal()):
        raise refused("H241")
    found = places.get(int(code)) if len(code) <= _LONGEST else None
    return json_answer(found) if found else Response(status_code=204)


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
