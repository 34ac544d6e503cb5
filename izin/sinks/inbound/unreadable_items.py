"""The alert about what İYS showed and nobody can read."""

from collections.abc import Sequence

from izin.iys.wire_format.json_reader import UnreadableItem
from izin.runtime.observe import get_logger

_log = get_logger(__name__)


def report_unreadable(items: Sequence[UnreadableItem], source: str) -> None:
    """Log each of ``items``, without its content: it is personal data."""
    for item in items:
        _log.critical(
            "movement unreadable",
            source=source,
            error=item.error,
            remedy="it may be an opt-out: izin dead-letters has it as İYS wrote it",
        )
