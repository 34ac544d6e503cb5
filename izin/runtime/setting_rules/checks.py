"""The variables of connections: what each sets, which do not go together, which are too weak for
production, and secrets in files.

Each fault is a sentence with its remedy, and quotes no value of a secret, nor a URL that may have
one in it. The libraries for other teams need no more than this module of the settings.
"""

import ssl
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from izin.runtime.errors import SettingError

SECRETS = ("KAFKA_SSL_KEY_PASSWORD", "KAFKA_SASL_PASSWORD", "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET")
"""The variables that may be in a file instead."""
_OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "KAFKA_SECURITY_PROTOCOL": "security.protocol",
        "KAFKA_SSL_CA_FILE": "ssl.ca.location",
        "KAFKA_SSL_CERTIFICATE_FILE": "ssl.certificate.location",
        "KAFKA_SSL_KEY_FILE": "ssl.key.location",
        "KAFKA_SSL_KEY_PASSWORD": "ssl.key.password",
        "KAFKA_SASL_MECHANISM": "sasl.mechanism",
        "KAFKA_SASL_USERNAME": "sasl.username",
        "KAFKA_SASL_PASSWORD": "sasl.password",
        "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": "sasl.oauthbearer.token.endpoint.url",
        "KAFKA_SASL_OAUTHBEARER_CLIENT_ID": "sasl.oauthbearer.client.id",
        "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": "sasl.oauthbearer.client.secret",
        "KAFKA_SASL_OAUTHBEARER_SCOPE": "sasl.oauthbearer.scope",
        "KAFKA_SASL_OAUTHBEARER_CA_FILE": "https.ca.location",
    }
)
SECURITY = tuple(_OPTIONS)
"""The variables of encryption and authentication."""
SUFFIX = "_FILE"
"""Of the variable that names the file, after the name of the setting."""
Given = Mapping[str, Any]
"""The values of the settings that are set, by variable."""
_PROTOCOL = "KAFKA_SECURITY_PROTOCOL"
_MECHANISM = "KAFKA_SASL_MECHANISM"
_OAUTH = "KAFKA_SASL_OAUTHBEARER_"
_CERTIFICATE, _KEY = "KAFKA_SSL_CERTIFICATE_FILE", "KAFKA_SSL_KEY_FILE"
_KEY_PASSWORD = "KAFKA_SSL_KEY_PASSWORD"  # noqa: S105  # a variable's name
_REGISTRY = "SCHEMA_REGISTRY_"
_OF_PASSWORDS = ("KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD")
_OF_TOKENS = tuple(f"{_OAUTH}{one}" for one in ("TOKEN_ENDPOINT_URL", "CLIENT_ID", "CLIENT_SECRET"))
_OPTIONAL_OF_TOKENS = tuple(f"{_OAUTH}{one}" for one in ("SCOPE", "CA_FILE"))


class SecurityProtocol(StrEnum):
    """Kafka's security protocols: TLS (SSL), authentication by SASL, both or neither."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class SaslMechanism(StrEnum):
    """Kafka's SASL mechanisms: a password, sent or proved, or a token."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"


CHOICES: Mapping[str, type[StrEnum]] = MappingProxyType(
    {"KAFKA_SECURITY_PROTOCOL": SecurityProtocol, "KAFKA_SASL_MECHANISM": SaslMechanism}
)
"""The variables that have one of a few values, in any case of letters."""


def plain(value: Any) -> str:  # noqa: ANN401  # a text, a path, an enumeration or a SecretStr
    """Return the value of a setting as a text, a secret in plain."""
    return str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)


def security_options_of(given: Mapping[str, Any]) -> dict[str, str]:
    """Return librdkafka's options for what is ``given`` of encryption and authentication, by
    variable.

    Without TLS and SASL it is the protocol alone. librdkafka verifies the broker's certificate and
    host unless set otherwise, and requests tokens (OIDC) by itself.
    """
    found = {
        option: plain(given[variable])
        for variable, option in _OPTIONS.items()
        if given.get(variable) is not None
    }
    if found.get("sasl.mechanism") == SaslMechanism.OAUTHBEARER:
        found["sasl.oauthbearer.method"] = "oidc"
    return found


def secret_of(variable: str, environ: Mapping[str, str]) -> str | None:
    """Return the secret of the file that ``environ`` names for ``variable``; None for no file.

    One line break at its end, which editors add, does not belong to it.

    Raises:
        SettingError: the secret is given twice, or the file is empty or cannot be read.
    """
    name = f"{variable}{SUFFIX}"
    path = environ.get(name)
    if not path:
        return None
    if environ.get(variable):
        raise SettingError(f"{variable} and {name} are both set; unset one of them")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise SettingError(
            f"{name}={path} cannot be read ({error.strerror}); name a file that this user may read"
        ) from error
    except UnicodeDecodeError:
        # Without its cause, which would quote the file.
        raise SettingError(f"{name}={path} is no text in UTF-8; write the secret there") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise SettingError(f"{name}={path} is empty; write the secret there")
    return secret


def refuse(faults: Iterable[str]) -> None:
    """Raise SettingError if there is a fault, with all of them."""
    if found := "; ".join(faults):
        raise SettingError(found)


def url_faults(given: Given, variable: str, remedy: str) -> Iterator[str]:
    """Yield the fault of a URL with a user name or password, which logs and errors would show."""
    if "@" in given.get(variable, ""):
        yield f"{variable} has an @, as of a login, which errors would print; {remedy}"


def kafka_faults(given: Given) -> Iterator[str]:
    """Yield what does not go together in the settings of Kafka and of the schema registry."""
    if "@" in given["KAFKA_BOOTSTRAP_SERVERS"]:
        yield (
            "KAFKA_BOOTSTRAP_SERVERS has an @, as of a user name or password; write host:port and "
            f"set {' and '.join(_OF_PASSWORDS)}"
        )
    yield from _sasl_faults(given)
    yield from _tls_faults(given)
    yield from url_faults(
        given, _OF_TOKENS[0], f"take it out and set {' and '.join(_OF_TOKENS[1:])}"
    )
    yield from _registry_faults(given)


def _sasl_faults(given: Given) -> Iterator[str]:
    protocol, mechanism = given[_PROTOCOL], given.get(_MECHANISM)
    if not protocol.startswith("SASL"):
        yield from (
            f"{name} is set, and {_PROTOCOL}={protocol} uses no SASL; set {_PROTOCOL} to SASL_SSL, "
            f"or unset {name}"
            for name in (_MECHANISM, *_OF_PASSWORDS, *_OF_TOKENS, *_OPTIONAL_OF_TOKENS)
            if name in given
        )
    elif mechanism is None:
        yield (
            f"{_PROTOCOL}={protocol} needs {_MECHANISM}; set it to SCRAM-SHA-512, SCRAM-SHA-256, "
            "PLAIN or OAUTHBEARER"
        )
    else:
        needed: tuple[str, ...] = _OF_PASSWORDS
        others: tuple[str, ...] = (*_OF_TOKENS, *_OPTIONAL_OF_TOKENS)
        if mechanism == "OAUTHBEARER":
            needed, others = _OF_TOKENS, _OF_PASSWORDS
        yield from (
            f"{_MECHANISM}={mechanism} needs {name}; set it" for name in needed if name not in given
        )
        yield from (
            f"{name} is set, and {_MECHANISM}={mechanism} does not use it; unset it"
            for name in others
            if name in given
        )


def _tls_faults(given: Given) -> Iterator[str]:
    protocol = given[_PROTOCOL]
    if not protocol.endswith("SSL"):
        yield from (
            f"{name} is set, and {_PROTOCOL}={protocol} uses no TLS; set {_PROTOCOL} to SASL_SSL "
            f"or SSL, or unset {name}"
            for name in ("KAFKA_SSL_CA_FILE", _CERTIFICATE, _KEY, _KEY_PASSWORD)
            if name in given
        )
        return
    for name, other in ((_CERTIFICATE, _KEY), (_KEY, _CERTIFICATE), (_KEY_PASSWORD, _KEY)):
        if name in given and other not in given:
            yield f"{name} is set without {other}; set both, or unset {name}"


def _registry_faults(given: Given) -> Iterator[str]:
    url, username, password, ca_file = (
        f"{_REGISTRY}{one}" for one in ("URL", "USERNAME", "PASSWORD", "SSL_CA_FILE")
    )
    yield from url_faults(given, url, f"take it out and set {username} and {password}")
    for name, other in (
        (username, password),
        (password, username),
        (username, url),
        (ca_file, url),
    ):
        if name in given and other not in given:
            yield f"{name} is set without {other}; set both, or unset {name}"
    if ca_file in given and not _all_https(given.get(url, "https:")):
        yield f"{ca_file} is set, and {url} does not begin with https://; change {url}, or unset it"


def tls_context(given: Given) -> ssl.SSLContext:
    """Return the TLS context of Kafka's clients: it verifies the broker's name and certificate.

    Without ``KAFKA_SSL_CA_FILE`` the authorities of the operating system are trusted.

    Raises:
        SettingError: a file cannot be read, or has something else in it.
    """
    context = authorities("KAFKA_SSL_CA_FILE", given.get("KAFKA_SSL_CA_FILE"))
    if _CERTIFICATE not in given:
        return context
    for name in (_CERTIFICATE, _KEY):
        _read(name, given[name])
    password = given.get(_KEY_PASSWORD)
    try:
        # An empty password: with none OpenSSL would ask for it at the terminal.
        context.load_cert_chain(
            given[_CERTIFICATE], given[_KEY], plain(password) if password else ""
        )
    except (ssl.SSLError, ValueError) as error:
        raise SettingError(
            f"{_CERTIFICATE} and {_KEY} cannot be used ({_reason(error)}); name PEM files, the "
            f"certificate's key and, where that is encrypted, its {_KEY_PASSWORD}"
        ) from error
    return context


def authorities(variable: str, file: Path | None) -> ssl.SSLContext:
    """Return a TLS context that trusts the authorities in ``file``, else the operating system's.

    Raises:
        SettingError: the file, which ``variable`` names, cannot be read or has no certificate.
    """
    if file is None:
        return ssl.create_default_context()
    _read(variable, file)
    try:
        return ssl.create_default_context(cafile=file)
    except (ssl.SSLError, ValueError) as error:
        raise SettingError(
            f"{variable}={file} has no certificate of an authority ({_reason(error)}); name a PEM "
            "file"
        ) from error


def _read(variable: str, file: Path) -> None:
    try:
        file.read_bytes()
    except OSError as error:
        raise SettingError(
            f"{variable}={file} cannot be read ({error.strerror}); name a file that this user may "
            "read"
        ) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)


def plain_kafka(given: Given) -> Iterator[str]:
    """Yield which connections of Kafka's settings would not be encrypted."""
    protocol = given[_PROTOCOL]
    if not protocol.endswith("SSL"):
        yield (
            f"IZIN_PRODUCTION=true refuses {_PROTOCOL}={protocol}: recipients and passwords would "
            "cross the network readable; set it to SASL_SSL or SSL"
        )
    yield from plain_url(given, f"{_REGISTRY}URL")
    yield from plain_url(given, _OF_TOKENS[0])


def plain_url(given: Given, variable: str) -> Iterator[str]:
    """Yield the fault of a URL that would not be reached through TLS."""
    if not _all_https(given.get(variable, "https://")):
        yield (
            f"IZIN_PRODUCTION=true refuses {variable} unless it begins with https://: what is sent "
            "there would cross the network readable"
        )


def _all_https(urls: str) -> bool:
    return all(one.strip().lower().startswith("https:") for one in urls.split(","))
