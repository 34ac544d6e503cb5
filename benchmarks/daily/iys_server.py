"""``python -m benchmarks.daily.iys_server PORT FILE``: İYS's reports of one day, from a file.

The simulator would make the file line by line from its register, which would take longer than what
is measured.
"""

import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from iys_simulator.timestamp_authority import TimestampAuthority
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

_BRAND = "/sps/{iysCode}/brands/{brandCode}"
_DAY = f"{_BRAND}/changes/{{day}}"


def app(file: Path) -> Starlette:
    """Return the endpoints, which show the same file of every day."""
    with file.open("rb") as content:
        hash_value = hashlib.file_digest(content, "sha384").hexdigest()
    rows = file.read_bytes().count(b"\n") - 1
    reply = TimestampAuthority().reply(hash_value, datetime.now(UTC), 1)

    async def token(_: Request) -> Response:
        fields = {"access_token": "fake", "refresh_token": "fake", "token_type": "bearer"}
        return JSONResponse({**fields, "expires_in": 7200, "refresh_expires_in": 14400})

    async def counts(request: Request) -> Response:
        is_counted = request.path_params["recipientType"] == "BIREYSEL"
        count = {"source": "HS", "approval": rows, "rejection": 0, "pending": 0, "total": rows}
        stats = [{"type": "MESAJ", "consents": [count]}] if is_counted else []
        return JSONResponse({"changeStats": stats})

    async def agreement(_: Request) -> Response:
        fields = {"processStatus": "completed", "hashMethod": "SHA-384", "agreementStatus": False}
        return JSONResponse({**fields, "hashValue": hash_value})

    async def timestamp(_: Request) -> Response:
        return Response(reply, media_type="text/plain")

    async def download(_: Request) -> Response:
        return FileResponse(file, media_type="text/csv")

    async def ready(_: Request) -> Response:
        return JSONResponse({})

    routes = [
        Route("/oauth2/token", token, methods=["POST"]),
        Route(f"{_DAY}/recipients/{{recipientType}}", counts),
        Route(f"{_DAY}/file", download),
        Route(f"{_BRAND}/agreements/{{day}}", agreement),
        Route(f"{_BRAND}/agreements/{{day}}/timestamp", timestamp),
        Route("/health/ready", ready),
    ]
    return Starlette(routes=routes)


def main() -> None:
    """Serve until the process is ended."""
    port, file = int(sys.argv[1]), Path(sys.argv[2])
    uvicorn.run(app(file), port=port, access_log=False, log_level="warning", loop="uvloop")


if __name__ == "__main__":
    main()
