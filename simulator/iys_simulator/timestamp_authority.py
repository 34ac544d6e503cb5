"""A time-stamp authority of tests: it signs replies (RFC 3161, `.tsr`) over SHA-384 and SHA-512.

Its keys and certificates are made when the first reply is, and end with the process. Who trusts its
root can verify a reply as one of a real authority; nobody else does, and none should.
"""

import datetime as dt
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
_TIMESTAMP_INFO: Final = "1.2.840.113549.1.9.16.1.4"
_CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
_SIGNING_CERTIFICATE: Final = "1.2.840.113549.1.9.16.2.47"
_SHA_256: Final = "2.16.840.1.101.3.4.2.1"
_BY_SIZE: Final = {48: "2.16.840.1.101.3.4.2.2", 64: "2.16.840.1.101.3.4.2.3"}  # SHA-384, -512
_ECDSA_WITH_SHA_256: Final = "1.2.840.10045.4.3.2"
_POLICY: Final = "1.3.6.1.4.1.99999.1"  # of no authority
_SHORT: Final = 0x80
# The simulated clock may show any year of these.
_FROM: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_UNTIL: Final = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A key with its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


class TimestampAuthority:
    """A root, and a signer whose certificate it has issued."""

    @property
    def root_pem(self) -> bytes:
        """The root's certificate (PEM), to be trusted in tests."""
        return self._root.certificate.public_bytes(Encoding.PEM)

    def reply(self, hash_value: str, made_at: dt.datetime, serial: int) -> bytes:
        """Return a granted reply over `hash_value` (hex) made at `made_at` (UTC)."""
        hashed = bytes.fromhex(hash_value)
        info = _sequence(
            _integer(1),
            _object(_POLICY),
            _sequence(_algorithm(_BY_SIZE[len(hashed)]), _octets(hashed)),
            _integer(serial),
            _tag(0x18, made_at.strftime("%Y%m%d%H%M%SZ").encode()),
        )
        content = _sequence(_object(_TIMESTAMP_INFO), _tag(0xA0, _octets(info)))
        certificate = self._signer.certificate
        signed = _sequence(
            _integer(3),
            _set(_algorithm(_SHA_256)),
            content,
            _tag(0xA0, certificate.public_bytes(Encoding.DER)),
            _set(self._signer_info(info)),
        )
        token = _sequence(_object(_SIGNED_DATA), _tag(0xA0, signed))
        return _sequence(_sequence(_integer(0)), token)

    def _signer_info(self, info: bytes) -> bytes:
        certificate = self._signer.certificate
        digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
        attributes = _set(
            _attribute(_CONTENT_TYPE, _object(_TIMESTAMP_INFO)),
            _attribute(_MESSAGE_DIGEST, _octets(hashlib.sha256(info).digest())),
            _attribute(_SIGNING_CERTIFICATE, _sequence(_sequence(_sequence(_octets(digest))))),
        )
        issuer = certificate.issuer.public_bytes()
        return _sequence(
            _integer(1),
            _sequence(issuer, _integer(certificate.serial_number)),
            _algorithm(_SHA_256),
            # Signed as a set, and written with the tag of the field.
            b"\xa0" + attributes[1:],
            _sequence(_object(_ECDSA_WITH_SHA_256)),
            _octets(self._signer.key.sign(attributes, ec.ECDSA(SHA256()))),
        )

    @cached_property
    def _root(self) -> _Pair:
        return _made("Test root of the simulator", None)

    @cached_property
    def _signer(self) -> _Pair:
        return _made("Test time stamps of the simulator", self._root)


def _made(name: str, issuer: _Pair | None) -> _Pair:
    """Return a key with a certificate of `issuer`; None: a root, which issues its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(usage, critical=True)
    signing_key = key if issuer is None else issuer.key
    return _Pair(key=key, certificate=builder.sign(signing_key, SHA256()))


def _tag(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < _SHORT:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, _SHORT | len(size)]) + size + content


def _sequence(*parts: bytes) -> bytes:
    return _tag(0x30, b"".join(parts))


def _set(*parts: bytes) -> bytes:
    return _tag(0x31, b"".join(sorted(parts)))


def _octets(content: bytes) -> bytes:
    return _tag(0x04, content)


def _algorithm(name: str) -> bytes:
    return _sequence(_object(name), _tag(0x05, b""))


def _attribute(name: str, value: bytes) -> bytes:
    return _sequence(_object(name), _set(value))


def _integer(value: int) -> bytes:
    return _tag(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _object(name: str) -> bytes:
    first, second, *rest = (int(part) for part in name.split("."))
    return _tag(0x06, bytes([first * 40 + second]) + b"".join(_base_128(part) for part in rest))


def _base_128(value: int) -> bytes:
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.insert(0, value & 0x7F | _SHORT)
    return bytes(digits)
