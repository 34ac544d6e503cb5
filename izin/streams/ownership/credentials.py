"""What librdkafka's clients get from ``setting_rules.kafka_variables``, for aiokafka's."""

from typing import Any

from faust import OAuthCredentials, SASLCredentials, SSLCredentials

from izin.runtime.settings import KafkaSettings, SaslMechanism


def credentials(settings: KafkaSettings) -> Any:  # noqa: ANN401  # Faust publishes no types
    """Return Faust's credentials, None for a plain connection; raises SettingError."""
    context = settings.tls_context()
    match settings.sasl_mechanism:
        case None:
            return SSLCredentials(context) if context else None
        case SaslMechanism.OAUTHBEARER:
            # It imports an HTTP library, 0.2 s for which the partitions of a worker would wait.
            from izin.streams.ownership.token_provider import TokenProvider  # noqa: PLC0415  # see above

            return OAuthCredentials(oauth_cb=TokenProvider(settings), ssl_context=context)
        case mechanism:
            password = settings.sasl_password
            return SASLCredentials(
                username=settings.sasl_username,
                password=password and password.get_secret_value(),
                ssl_context=context,
                mechanism=mechanism.value,
            )
