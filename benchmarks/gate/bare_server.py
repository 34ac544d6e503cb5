"""``python -m benchmarks.gate.bare_server PORT KEYS``: a Starlette endpoint over a dict, no more.

What the gate is compared with: it reads the JSON of a question, looks one key up, and answers. No
API key, no limits, no metrics, no freshness; the event loop and the HTTP of uvicorn are the gate's.
"""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.gate.questions import BRAND, recipient
from izin.schemas.may_send_api import PATH


def app(keys: int) -> Starlette:
    """Return the endpoint, which knows so many keys."""
    known = {f"{BRAND}/MESAJ/BIREYSEL/{recipient(number)}": True for number in range(keys)}

    async def may_send(request: Request) -> Response:
        asked = await request.json()
        (one,) = asked["recipients"]
        key = f"{asked['brand_code']}/{asked['type']}/BIREYSEL/{one}"
        return JSONResponse({"recipient": one, "may_send": known.get(key, False)})

    async def ready(_: Request) -> Response:
        return JSONResponse({})

    routes = [Route(PATH, may_send, methods=["POST"]), Route("/health/ready", ready)]
    return Starlette(routes=routes)


def main() -> None:
    """Serve until the process is ended."""
    port, keys = int(sys.argv[1]), int(sys.argv[2])
    uvicorn.run(app(keys), port=port, access_log=False, log_level="warning", loop="uvloop")


if __name__ == "__main__":
    main()
