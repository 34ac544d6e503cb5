"""Who may push, and whether İYS shows a connection."""

import base64
from typing import NoReturn, cast

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from izin.iys.wire_format.json_reader import UnreadableItem
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.sinks.inbound.movements import unreadable_messages
from izin.sinks.inbound.push import AcceptedCredentials, Credentials
from izin.sinks.inbound.push_connections import is_established
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.record.errors import LedgerUnavailableError
from izin.sinks.record.messages import TopicMessages
from tests.support.builders import NOON

CREDENTIALS = Credentials(username="iys", password=SecretStr("fake-password"))


class AbsentLedger:
    """A ledger that cannot be reached."""

    async def fetch(self, *_: object) -> NoReturn:
        raise LedgerUnavailableError("away")


def accepted(credentials: Credentials | None) -> AcceptedCredentials:
    """Return who may push while the ledger cannot be reached."""
    return AcceptedCredentials(credentials, cast("Ledger", AbsentLedger()), clock=lambda: NOON)


def basic(text: str) -> str:
    """Return an Authorization header."""
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic", "Basic %%%", "Bearer abc", basic("iys:other"), basic("iys")],
)
async def test_push_with_wrong_credentials_is_refused(header: str | None):
    """İYS refuses a receiver that admits anybody."""
    assert not await accepted(CREDENTIALS).admits(header)


async def test_push_with_right_credentials_is_admitted():
    """The password is not printed."""
    assert await accepted(CREDENTIALS).admits(basic("iys:fake-password"))
    assert not await accepted(None).admits(basic("iys:fake-password"))
    assert "fake-password" not in repr(CREDENTIALS)


def test_stands_reads_the_answer_of_a_made_connection():
    """İYS's two sentences differ by one syllable."""
    assert is_established("Bağlantı Oluşturuldu")
    assert not is_established("Bağlantı Oluşturulamadı")
    assert not is_established(None)


def test_unreadable_movements_of_a_push_are_one_line_of_the_log():
    """Whoever pushes a thousand of them does not write as many lines, and each is kept."""
    items = [UnreadableItem(b"{}", f"{number}: not a movement") for number in range(1000)]
    messages = TopicMessages(Codec(), Topics())
    with capture_logs() as logs:
        assert len(unreadable_messages(items, "iys/push", messages, NOON)) == 1000
        assert unreadable_messages([], "iys/push", messages, NOON) == []
    assert [(one["log_level"], one["count"]) for one in logs] == [("critical", 1000)]
