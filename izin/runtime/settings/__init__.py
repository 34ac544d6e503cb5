"""The settings: the only reader of the environment, once at the start of a process, frozen.

There is one group for each concern, and each worker gets the groups it needs. Variables have their
customary names (``KAFKA_…``, ``SCHEMA_REGISTRY_…``, ``DATABASE_URL``) or begin with ``IZIN_`` or
``IYS_``. Secrets print as ``**********``, have no default, and may be in files
(:mod:`izin.runtime.setting_rules.group`). A group whose settings do not go together, or
whose connections are not encrypted in production, cannot be made
(:mod:`izin.runtime.setting_rules.checks`).
"""

from izin.runtime.settings.connections import (
    IysSettings,
    KafkaSettings,
    LedgerSettings,
    LogSettings,
    SaslMechanism,
    SecurityProtocol,
    SenderSettings,
)
from izin.runtime.settings.processes import (
    ApiSettings,
    ConsoleSettings,
    FeedsSettings,
    GateSettings,
    IntakeSettings,
    OutboxSettings,
    SinkSettings,
    StateKind,
    StreamSettings,
    ViaSettings,
    WebhookSettings,
)

__all__ = [
    "ApiSettings",
    "ConsoleSettings",
    "FeedsSettings",
    "GateSettings",
    "IntakeSettings",
    "IysSettings",
    "KafkaSettings",
    "LedgerSettings",
    "LogSettings",
    "OutboxSettings",
    "SaslMechanism",
    "SecurityProtocol",
    "SenderSettings",
    "SinkSettings",
    "StateKind",
    "StreamSettings",
    "ViaSettings",
    "WebhookSettings",
]
