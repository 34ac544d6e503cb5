"""What the subscriber library offers, and what it shows."""

import logging

import pytest

from izin import subscribers
from izin.runtime.plain_log import PlainLogger
from izin.subscribers import Change, ChangeId, Position, UnreadableRecord
from tests.support.builders import NOON, a_key


def test_exported_names_are_these():
    """A change of them is a change for other teams: name it in the changelog."""
    assert set(subscribers.__all__) == {
        *("ApiKeyRefusedError", "BlockingGate", "Gate", "GateAnswer", "GateClosedError"),
        *("GateUnavailableError", "MessageClass", "NotPermittedError", "Question"),
        *("QuestionRefusedError", "ReceiptKind", "GateVerdict"),
        *("Answer", "BrokerError", "Change", "ChangeId", "ChangeKind", "Channel"),
        *("CheckpointLostError", "CheckpointStore", "ConfirmationOrderError", "ConsentKey"),
        *("KafkaAccess", "OptedOut", "OutcomeKind", "OutcomeReached", "PermissionChanged"),
        *("PermissionErased", "PermissionList", "PermissionReason", "Position", "RecipientType"),
        *("Registered", "RegistryError", "SettingError", "Status", "UnconfirmedChangesError"),
        *("UnreadableRecord", "subscribe"),
    }
    assert all(hasattr(subscribers, one) for one in subscribers.__all__)


async def test_change_made_by_hand_can_be_confirmed():
    """So that a caller's own tests need no Kafka."""
    change = Change(id=ChangeId("/izin", "1"), occurred_at=NOON, position=Position("t", 0, 7))
    await change.done()


def test_no_representation_shows_a_recipient():
    """Changes end up in logs and in tracebacks."""
    change = UnreadableRecord(
        id=ChangeId("/izin", "1"),
        occurred_at=NOON,
        position=Position("permissions", 0, 7),
        kind=subscribers.ChangeKind.PERMISSIONS,
        key=a_key(),
        reason="not a Permission",
        value=a_key().encode(),
    )
    assert a_key().recipient not in repr(change)


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_log_event_has_its_fields_behind_it(level: str, caplog: pytest.LogCaptureFixture):
    """As text, for nobody set up this library's logging."""
    caplog.set_level(logging.INFO)
    getattr(PlainLogger("izin.test"), level)("topic not read", topic="permissions", offset=7)
    (record,) = caplog.records
    assert record.levelname == level.upper()
    assert record.getMessage() == "topic not read topic=permissions offset=7"


def test_disabled_level_costs_no_text(caplog: pytest.LogCaptureFixture):
    """Nothing is written, and nothing is formatted."""
    caplog.set_level(logging.ERROR)
    PlainLogger("izin.test").info("topic read")
    assert caplog.records == []
