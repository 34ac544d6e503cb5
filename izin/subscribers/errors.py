"""What may be wrong with a subscription or a question, besides Kafka and the registry.

OurError                         (izin.consent.errors)
├── CheckpointLostError          what follows a checkpoint is no longer in the topic
├── UnconfirmedChangesError      too many changes are delivered and not confirmed
├── ConfirmationOrderError       a change is confirmed before an earlier one of its partition
├── GateUnavailableError         the gate gave no answer
├── GateClosedError              the client of the gate was not entered, or was left
├── ApiKeyRefusedError           the gate does not take the API key
└── NotPermittedError            the API key may not ask
SourceError
└── QuestionRefusedError         the gate does not understand the question

BrokerError and RegistryError are of izin.runtime.errors. None of those of a subscription loses a
change: a subscriber that is started again goes on from its checkpoints. None of those of a question
permits anything.
"""

from izin.consent import OurError, SourceError


class CheckpointLostError(OurError):
    """What follows a checkpoint is no longer in the topic, so changes are missing. An operator
    acts.
    """


class UnconfirmedChangesError(OurError):
    """Too many changes are delivered and not confirmed. The caller acts."""


class ConfirmationOrderError(OurError):
    """A change is confirmed before an earlier one of its partition: its checkpoint would skip that
    one. The caller acts.
    """


class GateUnavailableError(OurError):
    """The gate gave no answer: nothing may be sent until it does. An operator acts."""

    def __init__(
        self, cause: str, *, retry_after: float | None = None, is_final: bool = False
    ) -> None:
        super().__init__(
            f"the gate gave no answer: {cause}; send nothing, and ask again. Is its URL right, and "
            "is it ready (/health/ready of its operations port)?"
        )
        self.cause = cause
        """In a few words; it names no recipient."""
        self.retry_after = retry_after
        """Seconds after which the gate wants to be asked again, if it said so."""
        self.is_final = is_final
        """Whether asking again would not help."""


class GateClosedError(OurError):
    """The client of the gate was asked while it was not open. The caller acts."""

    def __init__(self) -> None:
        super().__init__(
            "the gate's client is not open; ask within `async with Gate(…) as gate:` or "
            "`with BlockingGate(…) as gate:`"
        )


class ApiKeyRefusedError(OurError):
    """The gate does not take the API key: it is unknown, expired or revoked. An operator acts."""


class NotPermittedError(OurError):
    """The API key may not ask. An operator acts."""


class QuestionRefusedError(SourceError):
    """The gate does not understand the question. The caller acts."""
