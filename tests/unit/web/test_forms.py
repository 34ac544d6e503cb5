"""The body of a posted form: what is read, and what is refused."""

import pytest
from hypothesis import given, strategies as st
from starlette.requests import Request

from izin.runtime.http_server.problems import RequestRefusedError
from izin.web.forms import SMALL, Form, read_form

BOUNDARY = "a-boundary"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
URLENCODED = "application/x-www-form-urlencoded"


def posted(body: bytes, kind: str = URLENCODED) -> Request:
    """Return a request with this body."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind.encode("latin-1"))]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


async def read(body: bytes, kind: str = URLENCODED) -> Form:
    """Return the form in a body."""
    return await read_form(posted(body, kind), largest=SMALL)


def parts(*given: tuple[str, bytes]) -> bytes:
    """Return a multipart body of parts, each with what it says of itself."""
    lines = (
        b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n"
        % (BOUNDARY.encode(), said.encode(), content)
        for said, content in given
    )
    return b"".join(lines) + f"--{BOUNDARY}--\r\n".encode()


async def test_form_has_the_fields_in_their_order():
    """Clean, without spaces around them; the first value counts."""
    form = await read(b"a=+%00x+&a=y&b.1=z&b.2=&a=")
    assert (form.get("a"), form.every("a"), form.get("c")) == ("x", ["x", "y"], "")
    assert form.starting("b.") == {"1": "z", "2": ""}


async def test_form_with_a_file_has_its_name_and_content():
    """And none where nothing was chosen."""
    body = parts(
        ('name="a"', "ğ".encode()),
        ('name="file"; filename="liste.csv"', b"telefon\n"),
        ('name="none"; filename=""', b""),
    )
    form = await read(body, MULTIPART)
    file = form.file("file")
    assert file is not None
    assert (file.name, file.content, form.get("a")) == ("liste.csv", b"telefon\n", "ğ")
    assert form.file("none") is None


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"a=\xff", URLENCODED, 400),
        (b"&".join(b"a=1" for _ in range(3000)), URLENCODED, 400),
        (b"a=" + b"x" * SMALL, URLENCODED, 413),
        (b"a", "multipart/form-data", 400),
        (b"no boundary", MULTIPART, 400),
        (parts(("filename=x", b"no name")), MULTIPART, 400),
        (parts(*[('name="f"; filename="x"', b"")] * 9), MULTIPART, 400),
        (parts(*[('name="f"', b"")] * 2001), MULTIPART, 413),
    ],
)
async def test_form_that_cannot_be_read_is_refused(body: bytes, kind: str, status: int):
    """With the reason, and never by a mistake of ours."""
    with pytest.raises(RequestRefusedError) as refused:
        await read(body, kind)
    assert refused.value.text.status == status


async def status_of(body: bytes, kind: str) -> int:
    """Return with which status a form is refused; 200: it is read."""
    try:
        form = await read(body, kind)
    except RequestRefusedError as refused:
        return refused.text.status
    return 200 if isinstance(form.get("a"), str) else 500


@given(st.binary(max_size=400), st.text(max_size=60), st.booleans())
async def test_any_body_is_read_or_refused(body: bytes, kind: str, is_multipart: bool):
    """Whatever it is said to be."""
    kind = MULTIPART if is_multipart else kind.encode("latin-1", "ignore").decode("latin-1")
    assert await status_of(body, kind) in {200, 400, 413}


@given(st.lists(st.binary(max_size=40), max_size=4), st.integers(0, 200))
async def test_any_multipart_body_is_read_or_refused(contents: list[bytes], cut: int):
    """Also where it ends before it should."""
    body = parts(*((f'name="a"; filename="{len(one)}"', one) for one in contents))
    assert await status_of(body[: len(body) - cut], MULTIPART) in {200, 400}
