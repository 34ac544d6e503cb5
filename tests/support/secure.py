"""What tests of encrypted connections share: certificates, and servers that want them.

A broker with SASL; PostgreSQL; HTTP with one login: a token endpoint, and a proxy before a schema
registry. The tokens (OAuth 2.0, client credentials) are without a signature.
"""

import asyncio
import base64
import json
import re
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import httpx
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from izin.kafka.rights import ROLES, Acl, Resource
from izin.local import Kafka
from izin.local.reservations import HOST, free_port
from izin.runtime.settings import KafkaSettings
from tests.support.proxy import Proxy
from tests.support.tcp import listening

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The PEM files of one certificate."""

    certificate: Path
    key: Path
    both: Path
    """The key and the certificate in one file, as Java wants them."""


class Authority:
    """An authority whose files are in ``folder``."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Test {name}")])
        self._key = ec.generate_private_key(ec.SECP256R1())
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        made = (
            _builder(self._name, self._name, self._key.public_key(), ended=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        """The certificate of the authority, to be trusted."""
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, name: str, *, host: str = "127.0.0.1", ended: bool = False, password: str = ""
    ) -> Certificate:
        """Return a certificate for ``host``, valid today or until yesterday.

        With ``password`` its key is encrypted.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = (
            _builder(subject, self._name, key.public_key(), ended=ended)
            .add_extension(x509.SubjectAlternativeName([_general(host)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            encryption = serialization.BestAvailableEncryption(password.encode())
        pem = serialization.Encoding.PEM
        key_text = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption)
        found = Certificate(
            certificate=self._folder / f"{name}.pem",
            key=self._folder / f"{name}-key.pem",
            both=self._folder / f"{name}-both.pem",
        )
        found.certificate.write_bytes(made.public_bytes(pem))
        found.key.write_bytes(key_text)
        found.both.write_bytes(key_text + made.public_bytes(pem))
        return found


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, ended: bool
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    until = now - _DAY if ended else now + _DAY
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - 2 * _DAY - _HOUR)
        .not_valid_after(until)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


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

    query = {"sslmode": "verify-full", "sslrootcert": str(authority.file), **options}
    login = parts.netloc.rpartition("@")[0]
    async with listening(serve) as port:
        yield f"postgresql://{login}@127.0.0.1:{port}{parts.path}?{urlencode(query)}"


@contextmanager
def behind_tls(url: str, certificate: Certificate, authority: Authority) -> Iterator[str]:
    """Yield the same to whoever has no event loop: the proxy runs in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
    thread.start()
    proxy = database_with_tls(url, certificate, authority)
    try:
        yield asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result(10)
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(None, None, None), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


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
    context, loop = server_context(certificate), asyncio.get_running_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        plain = writer.transport
        with suppress(OSError):
            # Not the writer's own: aborted, it leaves a writer without a transport.
            shaken = await loop.start_tls(plain, plain.get_protocol(), context, server_side=True)
            try:
                await reader.read()
            finally:
                if shaken is not None:
                    shaken.abort()  # its end waits for a client that may be gone

    async with listening(serve) as port:
        yield f"127.0.0.1:{port}"


_LIFETIME = 300


class HttpsServer(ThreadingHTTPServer):
    """A server on any port of 127.0.0.1; ``statuses`` are those of its answers so far."""

    daemon_threads = True

    def __init__(
        self, handler: type[BaseHTTPRequestHandler], certificate: Certificate, login: str
    ) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.login = login
        """``user:password``."""
        self.statuses: list[int] = []
        # The handshake is its handler's: a client that is slow at it must not keep others waiting.
        self.socket = server_context(certificate).wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    @property
    def url(self) -> str:
        """The root of its URLs."""
        return f"https://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that ends a handshake."""


class HttpsHandler(BaseHTTPRequestHandler):
    """What the handlers of such servers share."""

    server: HttpsServer

    def is_known(self) -> bool:
        """Whether the request has the user's name and password (Basic)."""
        kind, _, login = self.headers.get("Authorization", "").partition(" ")
        return kind == "Basic" and base64.b64decode(login).decode() == self.server.login

    def body(self) -> bytes:
        """Return the body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, body: bytes) -> None:
        """Answer with JSON."""
        self.server.statuses.append(status)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing to standard error."""


Server = TypeVar("Server", bound=HTTPServer)
Binding = TypeVar("Binding", AclBinding, AclBindingFilter)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Yield ``server``, which answers from a thread until the context ends."""
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class RegistryProxy(HttpsServer):
    """Passes the requests of one user on to the registry at ``url``."""

    def __init__(self, url: str, certificate: Certificate, login: str) -> None:
        super().__init__(_RegistryHandler, certificate, login)
        self.upstream = httpx.URL(url)


class _RegistryHandler(HttpsHandler):
    server: RegistryProxy

    def _pass_on(self) -> None:
        body = self.body()
        if not self.is_known():
            self.answer(401, b'{"error_code": 40101, "message": "Unauthorized"}')
            return
        answer = httpx.request(
            self.command,
            self.server.upstream.join(self.path),
            content=body,
            headers={"Content-Type": self.headers.get("Content-Type", "application/json")},
            trust_env=False,
        )
        self.answer(answer.status_code, answer.content)

    do_GET = do_POST = do_PUT = _pass_on  # noqa: N815  # the library's names


class TokenEndpoint(HttpsServer):
    """Gives tokens to one client; ``scopes`` are those that were asked for."""

    def __init__(self, certificate: Certificate, *, client_id: str, secret: str) -> None:
        super().__init__(_TokenHandler, certificate, f"{client_id}:{secret}")
        self.scopes: set[str] = set()


class _TokenHandler(HttpsHandler):
    server: TokenEndpoint

    def do_POST(self) -> None:  # the library's name
        form = parse_qs(self.body().decode())
        if self.is_known() and form.get("grant_type") == ["client_credentials"]:
            self.server.scopes.update(form.get("scope", ()))
            token = unsigned_token(self.server.login.partition(":")[0])
            given = {"access_token": token, "token_type": "Bearer", "expires_in": _LIFETIME}
            self.answer(200, json.dumps(given).encode())
        else:
            self.answer(401, b'{"error": "invalid_client"}')


def unsigned_token(subject: str) -> str:
    """Return a token that only a broker accepts that looks at no signature."""
    now = int(time.time())
    claims = {"sub": subject, "iat": now, "exp": now + _LIFETIME}
    return f"{_part({'alg': 'none'})}.{_part(claims)}."


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


USER = "izin"
PASSWORD = "obviously-fake-100%-password"
CLIENT_ID = "izin-client"
_SECURITY = "org.apache.kafka.common.security"
_SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")


class SecureKafka(Kafka):
    """A broker whose certificates are of ``authority``."""

    def __init__(self, state_dir: Path, authority: Authority) -> None:
        super().__init__(state_dir)
        self._authority = authority
        self._certificate = authority.issue("broker")
        self._mutual = f"{HOST}:{free_port()}"

    @property
    def mutual(self) -> str:
        """The address of the listener that wants certificates of its clients."""
        return self._mutual

    def environment(self, mechanism: str = "SCRAM-SHA-512") -> dict[str, str]:
        """Return the settings of our processes that authenticate with the password."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SSL_CA_FILE": str(self._authority.file),
            "KAFKA_SASL_MECHANISM": mechanism,
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": PASSWORD,
        }

    def _settings(self, port: int) -> Mapping[str, object]:
        settings = dict(super()._settings(port))
        for name in ("listeners", "advertised.listeners"):
            settings[name] = f"{settings[name]},MUTUAL://{self._mutual}"
        return settings | {
            "listener.security.protocol.map": "CLIENT:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._certificate.both,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self._authority.file,
            "listener.name.mutual.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": ",".join((*_SCRAM, "PLAIN", "OAUTHBEARER")),
            "sasl.mechanism.inter.broker.protocol": _SCRAM[0],
            **{
                f"listener.name.client.{one.lower()}.sasl.jaas.config": (
                    f'{_SECURITY}.scram.ScramLoginModule required username="{USER}" '
                    f'password="{PASSWORD}";'
                )
                for one in _SCRAM
            },
            "listener.name.client.plain.sasl.jaas.config": (
                f'{_SECURITY}.plain.PlainLoginModule required username="{USER}" '
                f'password="{PASSWORD}" user_{USER}="{PASSWORD}";'
            ),
            # Tokens without a signature: what signs them is not what is tested.
            "listener.name.client.oauthbearer.sasl.jaas.config": (
                f"{_SECURITY}.oauthbearer.OAuthBearerLoginModule required "
                f'unsecuredLoginStringClaim_sub="{USER}";'
            ),
        }

    def _format_options(self) -> Sequence[str]:
        return [
            part
            for one in _SCRAM
            for part in ("--add-scram", f'{one}=[name="{USER}",password="{PASSWORD}"]')
        ]

    def _client_options(self) -> Mapping[str, str]:
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self._authority.file),
            "sasl.mechanism": "PLAIN",
            "sasl.username": USER,
            "sasl.password": PASSWORD,
        }


class AclKafka(SecureKafka):
    """A broker with a principal for each role, which may do nothing that no ACL allows it."""

    def environment(self, mechanism: str = "PLAIN") -> dict[str, str]:
        """Return the settings of the operator; the password is everybody's."""
        return {**super().environment(mechanism), "KAFKA_SASL_USERNAME": "operator"}

    def allow(self, role: str, given: Iterable[Acl]) -> None:
        """Create ACLs of a role."""
        client = AdminClient({"bootstrap.servers": self.address, **self._client_options()})
        for future in client.create_acls(_bindings(role, given, AclBinding)).values():
            future.result(_LIMIT)

    def withdraw(self, role: str, given: Iterable[Acl]) -> None:
        """Delete ACLs of a role."""
        client = AdminClient({"bootstrap.servers": self.address, **self._client_options()})
        for future in client.delete_acls(_bindings(role, given, AclBindingFilter)).values():
            assert future.result(_LIMIT), "there was none"

    def _settings(self, port: int) -> Mapping[str, object]:
        users = " ".join(f'user_{one}="{PASSWORD}"' for one in (USER, *ROLES))
        return {
            **super()._settings(port),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # Of the broker itself, and of the controller's listener.
            "super.users": f"User:{USER};User:ANONYMOUS",
            "listener.name.client.plain.sasl.jaas.config": (
                f'{_SECURITY}.plain.PlainLoginModule required username="{USER}" '
                f'password="{PASSWORD}" {users};'
            ),
        }


def _bindings(role: str, given: Iterable[Acl], made: type[Binding]) -> list[Binding]:
    """Return ACLs of a role as the library has them, or filters of each."""
    return [
        made(
            _RESOURCES[one.resource],
            one.name,
            ResourcePatternType.PREFIXED if one.is_prefix else ResourcePatternType.LITERAL,
            f"User:{role}",
            "*",
            AclOperation[_SEPARATE.sub(r"\1_\2", one.operation).upper()],
            AclPermissionType.ALLOW,
        )
        for one in dict.fromkeys(given)
    ]


_LIMIT = 15
_SEPARATE = re.compile("([a-z])([A-Z])")
_RESOURCES = {
    Resource.TOPIC: ResourceType.TOPIC,
    Resource.GROUP: ResourceType.GROUP,
    Resource.TRANSACTIONAL_ID: ResourceType.TRANSACTIONAL_ID,
    Resource.CLUSTER: ResourceType.BROKER,
}
SECRET = "obviously-fake-secret"
"""Of the client of the token endpoint, and of the key of a client's certificate."""
PASSWORDS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")


def with_tokens(
    broker: SecureKafka, authority: Authority, endpoint: TokenEndpoint
) -> dict[str, str]:
    """Return the settings of our processes that authenticate with tokens of ``endpoint``."""
    oauth = "KAFKA_SASL_OAUTHBEARER_"
    given = broker.environment("OAUTHBEARER")
    del given["KAFKA_SASL_USERNAME"], given["KAFKA_SASL_PASSWORD"]
    return given | {
        f"{oauth}TOKEN_ENDPOINT_URL": f"{endpoint.url}/token",
        f"{oauth}CLIENT_ID": CLIENT_ID,
        f"{oauth}CLIENT_SECRET": SECRET,
        f"{oauth}SCOPE": "kafka",
        f"{oauth}CA_FILE": str(authority.file),
    }


def with_certificate(broker: SecureKafka, authority: Authority) -> dict[str, str]:
    """Return the settings of our processes that authenticate with a certificate."""
    client = authority.issue("client", password=SECRET)
    return {
        "KAFKA_BOOTSTRAP_SERVERS": broker.mutual,
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CA_FILE": str(authority.file),
        "KAFKA_SSL_CERTIFICATE_FILE": str(client.certificate),
        "KAFKA_SSL_KEY_FILE": str(client.key),
        "KAFKA_SSL_KEY_PASSWORD": SECRET,
    }


def settings_of(given: Mapping[str, str], **others: str) -> KafkaSettings:
    """Return Kafka settings of ``given``, with topics of their own."""
    own = {"IZIN_TOPIC_PREFIX": f"t{uuid4().hex[:8]}-", "IZIN_PARTITIONS": "1"}
    return KafkaSettings.model_validate({**own, **given, **others})
