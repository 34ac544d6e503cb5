"""For teams that send messages: opt-outs and permissions, as they change and as they stand.

``Gate`` asks the gate "may we send?" (docs/sending.md). ``subscribe`` gives each change at least
once; ``PermissionList`` answers "may we send?" itself: docs/subscribing.md begins with five lines
of either.
"""

from izin.consent import Channel, ConsentKey, MessageClass, RecipientType, Registered, Status
from izin.consent.may_send import PermissionReason
from izin.kafka.access import KafkaAccess
from izin.runtime.errors import BrokerError, RegistryError, SettingError
from izin.subscribers.changes import (
    Change,
    ChangeId,
    ChangeKind,
    CheckpointStore,
    OptedOut,
    OutcomeKind,
    OutcomeReached,
    PermissionChanged,
    PermissionErased,
    Position,
    UnreadableRecord,
)
from izin.subscribers.errors import (
    ApiKeyRefusedError,
    CheckpointLostError,
    ConfirmationOrderError,
    GateClosedError,
    GateUnavailableError,
    NotPermittedError,
    QuestionRefusedError,
    UnconfirmedChangesError,
)
from izin.subscribers.gate import (
    BlockingGate,
    Gate,
    GateAnswer,
    GateVerdict,
    Question,
    ReceiptKind,
)
from izin.subscribers.permission_list import Answer, PermissionList
from izin.subscribers.subscription import subscribe

__all__ = (
    "Answer",
    "ApiKeyRefusedError",
    "BlockingGate",
    "BrokerError",
    "Change",
    "ChangeId",
    "ChangeKind",
    "Channel",
    "CheckpointLostError",
    "CheckpointStore",
    "ConfirmationOrderError",
    "ConsentKey",
    "Gate",
    "GateAnswer",
    "GateClosedError",
    "GateUnavailableError",
    "GateVerdict",
    "KafkaAccess",
    "MessageClass",
    "NotPermittedError",
    "OptedOut",
    "OutcomeKind",
    "OutcomeReached",
    "PermissionChanged",
    "PermissionErased",
    "PermissionList",
    "PermissionReason",
    "Position",
    "Question",
    "QuestionRefusedError",
    "ReceiptKind",
    "RecipientType",
    "Registered",
    "RegistryError",
    "SettingError",
    "Status",
    "UnconfirmedChangesError",
    "UnreadableRecord",
    "subscribe",
)
