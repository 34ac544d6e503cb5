"""How a program that uses the libraries reaches Kafka: by arguments, or by izin's own variables.

The variables and their meaning are those of the settings (``docs/settings.md``), and what does not
go together is refused by the same rules. But it needs neither pydantic nor the settings.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from izin.runtime.errors import SettingError
from izin.runtime.setting_rules import checks
from izin.schemas.codec import Codec
from izin.schemas.contracts import RECORDS, versions
from izin.schemas.topics import Topics

_SERVERS, _PROTOCOL = "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_SECURITY_PROTOCOL"
_DEFAULTS = {_SERVERS: "127.0.0.1:9092", _PROTOCOL: "PLAINTEXT"}
_REGISTRY_URL = "SCHEMA_REGISTRY_URL"
_REGISTRY_LOGIN = ("SCHEMA_REGISTRY_USERNAME", "SCHEMA_REGISTRY_PASSWORD")
_REGISTRY_CA_FILE = "SCHEMA_REGISTRY_SSL_CA_FILE"
_PREFIX, _FOLDER = "IZIN_TOPIC_PREFIX", "IZIN_SCHEMA_FOLDER"
_LOG_LEVEL, _PRODUCTION = "IZIN_KAFKA_LOG_LEVEL", "IZIN_PRODUCTION"
_LOG_LEVELS = range(8)
_YES, _NO = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})

VARIABLES = (
    *(_SERVERS, *checks.SECURITY, _REGISTRY_URL, *_REGISTRY_LOGIN, _REGISTRY_CA_FILE),
    *(_PREFIX, _FOLDER, _LOG_LEVEL, _PRODUCTION),
)
"""The variables that are read; those of secrets may end in ``_FILE``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaAccess:
    """How the brokers, the topics and, if there is one, the schema registry are reached."""

    bootstrap_servers: str
    """``host:port`` of some brokers, with commas between them."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Further options of librdkafka, such as ``security.protocol``; they may hold passwords."""
    topic_prefix: str = ""
    """What the names of the topics begin with; in production usually nothing."""
    registry_url: str | None = None
    """The root of the schema registry's API (Confluent's); None: there is none."""
    registry_login: tuple[str, str] | None = field(default=None, repr=False)
    """User name and password for the registry."""
    registry_ca_file: Path | None = None
    """The authorities (PEM) of the registry's certificate; None: the public ones."""
    schema_folder: Path | None = None
    """A folder with schemas of newer releases, where there is no schema registry."""

    @property
    def topics(self) -> Topics:
        """The topics with this prefix."""
        return Topics(self.topic_prefix)

    def codec(self, *, writes: Collection[str] = RECORDS) -> Codec:
        """Return the codec: Confluent's framing with a registry, else single-object encoding.

        The registry gives the ids of the records that it ``writes`` now, and holds them from then
        on.

        Raises:
            UnusableSchemaError: a schema in the folder cannot be used.
            RegistryError: the registry cannot be reached, or its URL is no URL.
        """
        others = {} if self.schema_folder is None else versions(self.schema_folder)
        if not self.registry_url:
            return Codec(others=others, writes=writes)
        # It imports an HTTP library, 0.1 s that only users of a registry should pay.
        from izin.kafka.registry_client import RegistryClient  # noqa: PLC0415  # see above

        client = RegistryClient(
            self.registry_url,
            self.topics,
            login=self.registry_login,
            ca_file=self.registry_ca_file,
        )
        return Codec(client, others=others, writes=writes)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Return what ``environ`` says, by default that of this process.

        Raises:
            SettingError: a variable has a wrong value, or some do not go together; the message
                names them and their remedies, and quotes no secret.
        """
        given = _given(os.environ if environ is None else environ)
        username, password = (given.get(one) for one in _REGISTRY_LOGIN)
        return cls(
            bootstrap_servers=given[_SERVERS],
            options={**checks.security_options_of(given), "log_level": given.get(_LOG_LEVEL, 6)},
            topic_prefix=given.get(_PREFIX, ""),
            registry_url=given.get(_REGISTRY_URL),
            registry_login=(username, password) if username and password else None,
            registry_ca_file=given.get(_REGISTRY_CA_FILE),
            schema_folder=given.get(_FOLDER),
        )


def _given(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that are set and not empty, by variable; raises SettingError."""
    given: dict[str, Any] = dict(_DEFAULTS)
    for variable in VARIABLES:
        text = environ.get(variable, "")
        if variable in {*checks.SECRETS, _REGISTRY_LOGIN[1]}:
            text = checks.secret_of(variable, environ) or text
        if text:
            given[variable] = _value(variable, text)
    faults = list(checks.kafka_faults(given))
    if given.pop(_PRODUCTION, False):
        faults += checks.plain_kafka(given)
    checks.refuse(faults)
    if given[_PROTOCOL].endswith("SSL"):
        checks.tls_context(given)
    for variable in ("KAFKA_SASL_OAUTHBEARER_CA_FILE", _REGISTRY_CA_FILE):
        if variable in given:
            checks.authorities(variable, given[variable])
    return given


def _value(variable: str, text: str) -> object:
    """Return what ``text`` means for ``variable``; raises SettingError."""
    if variable in checks.CHOICES:
        known = {str(one): one for one in checks.CHOICES[variable]}
        if text.upper() in known:
            return known[text.upper()]
        raise SettingError(f"{variable}={text} is none of {', '.join(known)}; set it to one")
    if variable == _LOG_LEVEL:
        if text.isdecimal() and int(text) in _LOG_LEVELS:
            return int(text)
        raise SettingError(f"{variable}={text} is no log level; set it to 0 (least) to 7 (all)")
    if variable == _PRODUCTION:
        if text.lower() in _YES | _NO:
            return text.lower() in _YES
        raise SettingError(f"{variable}={text} is neither true nor false; set it to one of them")
    return Path(text) if variable.endswith("_FILE") or variable == _FOLDER else text
