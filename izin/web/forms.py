"""The body of a posted form: urlencoded, or multipart where it has a file."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from python_multipart.exceptions import MultipartParseError
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from izin.consent import clean
from izin.runtime.http_server.problems import ProblemText
from izin.runtime.http_server.shedding import read_body

SMALL = 64 * 1024
"""Bytes of a form without a file."""
_MULTIPART = "multipart/form-data"
_PIECE = 256 * 1024
_MOST_FIELDS = 2000
_UNREADABLE = ProblemText(400, "Form not readable", "send the form of the page again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that was uploaded."""

    name: str
    content: bytes


class Form:
    """The fields of a form, clean, in their order; and its files."""

    def __init__(self, fields: Sequence[tuple[str, str]], files: dict[str, Upload]) -> None:
        self._fields = [(clean(name), clean(value).strip()) for name, value in fields]
        self._files = files

    def get(self, name: str) -> str:
        """Return the first value of a field; an empty text where there is none."""
        return next((value for field, value in self._fields if field == name), "")

    def every(self, name: str) -> list[str]:
        """Return all values of a field that are not empty."""
        return [value for field, value in self._fields if field == name and value]

    def starting(self, prefix: str) -> dict[str, str]:
        """Return the fields whose names begin with ``prefix``, without it."""
        return {
            name.removeprefix(prefix): value
            for name, value in self._fields
            if name.startswith(prefix)
        }

    def file(self, name: str) -> Upload | None:
        """Return an uploaded file that has content."""
        found = self._files.get(name)
        return found if found is not None and found.content else None


async def read_form(request: Request, *, largest: int) -> Form:
    """Return the form that was posted.

    Raises:
        RequestRefusedError: it has more than ``largest`` bytes, or cannot be read.
    """
    body = await read_body(request, largest=largest)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == _MULTIPART:
        return await _multipart(request.headers, body)
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise _UNREADABLE.error() from None
    return Form(pairs, {})


class _WholeParser(MultiPartParser):
    """Knows whether the body has an end."""

    is_whole = False

    def on_end(self) -> None:
        """Note it."""
        self.is_whole = True


async def _multipart(headers: Headers, body: bytes) -> Form:
    async def stream() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(body), _PIECE):
            yield body[start : start + _PIECE]
            await asyncio.sleep(0)  # other requests go on beside a large file
        if not parser.is_whole:  # raised here, for then it closes the files that it has begun
            raise MultiPartException("it has no end")

    parser = _WholeParser(
        headers, stream(), max_fields=_MOST_FIELDS, max_files=8, max_part_size=len(body) + 1
    )
    try:
        found = await parser.parse()
    except (MultiPartException, MultipartParseError, KeyError, ValueError):
        raise _UNREADABLE.error() from None
    fields, files = [], {}
    try:
        for name, value in found.multi_items():
            if isinstance(value, str):
                fields.append((name, value))
            else:
                files[name] = Upload(name=clean(value.filename or ""), content=await value.read())
    finally:
        await found.close()
    return Form(fields, files)
