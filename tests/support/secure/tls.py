"""Servers with TLS before a server without: PostgreSQL's own negotiation, or none."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlencode, urlsplit

from tests.support.proxy import Proxy
from tests.support.secure.certificates import Authority, Certificate

_HEAD = struct.Struct("!II")
_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


def server_context(certificate: Certificate) -> ssl.SSLContext:
    """Return the TLS context of a server with ``certificate``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context


@asynccontextmanager
async def database_with_tls(
    url: str, certificate: Certificate, authority: Authority, **options: str
) -> AsyncIterator[str]:
    """Yield the URL at which the database of ``url`` is reached through TLS only.

    The URL verifies the server with ``authority``; ``options`` are added to it, or replace those.
    """
    context = server_context(certificate)
    parts = urlsplit(url)
    proxy = Proxy(str(parts.hostname), int(parts.port or 0))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            if await _asks_for_tls(reader, writer):
                await writer.start_tls(context)
                await proxy.serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    query = {"sslmode": "verify-full", "sslrootcert": str(authority.file), **options}
    login = parts.netloc.rpartition("@")[0]
    try:
        yield f"postgresql://{login}@127.0.0.1:{port}{parts.path}?{urlencode(query)}"
    finally:
        server.close()
        await proxy.close()


async def _asks_for_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer requests for encryption as PostgreSQL does; False for a client that asks for none."""
    while True:
        _, code = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        if code == _SSL_REQUEST:
            writer.write(b"S")
            return True
        if code != _GSS_REQUEST:
            return False
        writer.write(b"N")


@asynccontextmanager
async def silent_tls(certificate: Certificate) -> AsyncIterator[str]:
    """Yield the address of a server that shakes hands and then says nothing."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(certificate))
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        # The end of TLS waits for a client that may be gone, and what is left to the garbage
        # collector is a warning in whichever test comes next.
        for one in writers:
            one.transport.abort()
        await asyncio.sleep(0.01)
