"""``python -m benchmarks.intake.bare_server PORT``: a Starlette endpoint that reads JSON, no more.

What the intake is compared with: no API key, no limits, no validation and no Kafka; the event loop
and the HTTP of uvicorn are the intake's.
"""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def _post(request: Request) -> Response:
    record = await request.json()
    return JSONResponse({"event_id": "-", "status": record["status"]}, status_code=202)


async def _ready(_: Request) -> Response:
    return JSONResponse({})


APP = Starlette(
    routes=[Route("/v1/consents", _post, methods=["POST"]), Route("/health/ready", _ready)]
)


def main() -> None:
    """Serve until the process is ended."""
    port = int(sys.argv[1])
    uvicorn.run(APP, port=port, access_log=False, log_level="warning", loop="uvloop", http="h11")


if __name__ == "__main__":
    main()
