"""What may be wrong with a subscription, besides Kafka and the registry.

OurError                         (izin.consent.errors)
├── CheckpointLostError          what follows a checkpoint is no longer in the topic
├── UnconfirmedChangesError      too many changes are delivered and not confirmed
└── ConfirmationOrderError       a change is confirmed before an earlier one of its partition

BrokerError and RegistryError are of izin.runtime.errors. None of them loses a change: a subscriber
that is started again goes on from its checkpoints.
"""

from izin.consent.errors import OurError


class CheckpointLostError(OurError):
    """What follows a checkpoint is no longer in the topic, so changes are missing. An operator
    acts.
    """

    def __init__(self, subscriber: str, topic: str, partition: int) -> None:
        super().__init__(
            f"{subscriber}: the checkpoint of partition {partition} of {topic} is outside what the "
            "topic holds: it was away for longer than the topic keeps records, or the topic was "
            "made anew. Changes are missing: load a new snapshot (izin.subscribers.PermissionList "
            "or the topic permissions), then subscribe under another name"
        )
        self.topic = topic
        self.partition = partition


class UnconfirmedChangesError(OurError):
    """Too many changes are delivered and not confirmed. The caller acts."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count} changes were delivered and not confirmed; call `await change.done()` for "
            "each, and limit how many you handle at a time"
        )
        self.count = count


class ConfirmationOrderError(OurError):
    """A change is confirmed before an earlier one of its partition: its checkpoint would skip that
    one. The caller acts.
    """

    def __init__(self, topic: str, partition: int, offset: int) -> None:
        super().__init__(
            f"the change at offset {offset} of partition {partition} of {topic} is confirmed "
            "before an earlier one of that partition; with a checkpoint store confirm the changes "
            "of a partition in the order in which they came"
        )
        self.offset = offset
