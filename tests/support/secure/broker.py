"""A real broker to which nobody speaks without TLS: a listener with SASL, another for certificates.

It speaks SASL_SSL with itself, too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from izin.local import Kafka
from izin.local.reservations import HOST, free_port
from tests.support.secure.certificates import Authority

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
