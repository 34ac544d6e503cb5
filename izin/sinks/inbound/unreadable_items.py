"""What İYS showed and nobody can read: a dead letter for each, and an alert for all."""

from collections.abc import Sequence
from datetime import datetime

from izin.iys.wire_format.json_reader import UnreadableItem
from izin.runtime.observe import get_logger
from izin.sinks.record.messages import Message, TopicMessages

_log = get_logger(__name__)


def unreadable_messages(
    items: Sequence[UnreadableItem], source: str, topic_messages: TopicMessages, at: datetime
) -> list[Message]:
    """Return the dead letters of ``items``; log that there are any, in one line and without their
    content: it is personal data, and a flood of them must not be one of lines too.
    """
    if items:
        _log.critical(
            "movement unreadable",
            source=source,
            error=items[0].error,
            count=len(items),
            remedy="it may be an opt-out: izin dead-letters has it as İYS wrote it",
        )
    return [topic_messages.unreadable(item, source, at) for item in items]
