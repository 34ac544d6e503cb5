"""Responses: JSON in UTF-8, and İYS's envelope of errors.

`{"errors": [{"code", "message", "location", "value", "index"}]}`, the last three only where they
apply. A refusal is raised as an exception, so that code at any depth can refuse.
"""

from collections.abc import Sequence

import orjson
from starlette.responses import Response

from iys_simulator.errors.messages import REFUSALS

JSON_TYPE = "application/json; charset=utf-8"

Error = dict[str, object]


class RefusedError(Exception):
    """The request is refused, with an HTTP `status` and the `errors` of the envelope.

    With `is_flat` the body is the one error without the envelope, as a client in use reads H084.
    """

    def __init__(self, status: int, errors: Sequence[Error], *, is_flat: bool = False) -> None:
        super().__init__(status, errors)
        self.status = status
        self.errors = list(errors)
        self.is_flat = is_flat

    @property
    def content(self) -> object:
        """The body of the response."""
        return self.errors[0] if self.is_flat else {"errors": self.errors}


def error(code: str, *, message: str | None = None, **more: object) -> Error:
    """Return one error of the envelope; `more` is location, value and index where they apply."""
    return {"code": code, "message": message or REFUSALS[code].message, **more}


def error_at(code: str, field: str, value: object, *, message: str | None = None) -> Error:
    """Return the error of an invalid `field` with the value that was sent."""
    return error(code, message=message, location=[field], value=value)


def refused(code: str, *, message: str | None = None, **more: object) -> RefusedError:
    """Return a refusal with one error and the HTTP status of its code."""
    return RefusedError(REFUSALS[code].status, [error(code, message=message, **more)])


def json_bytes(content: object) -> bytes:
    """Return `content` as JSON on one line, in UTF-8.

    Raises:
        TypeError: it is nested too deep.
    """
    return orjson.dumps(content)


def json_response(content: object, status: int = 200) -> Response:
    """Return `content` as a JSON response."""
    return Response(json_bytes(content), status, media_type=JSON_TYPE)


def codes_in(errors: Sequence[Error]) -> list[str]:
    """Return the H-codes of an envelope, under either spelling of the key."""
    return [str(entry.get("code") or entry.get("code:")) for entry in errors]
