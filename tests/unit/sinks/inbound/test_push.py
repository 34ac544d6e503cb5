"""Who may push, and whether İYS shows a connection."""

import base64

import pytest
from pydantic import SecretStr

from izin.sinks.inbound.push import Credentials
from izin.sinks.inbound.push_registration import is_registered

CREDENTIALS = Credentials(username="iys", password=SecretStr("fake-password"))


def basic(text: str) -> str:
    """Return an Authorization header."""
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic", "Basic %%%", "Bearer abc", basic("iys:other"), basic("iys")],
)
def test_push_with_wrong_credentials_is_refused(header: str | None):
    """İYS refuses a receiver that admits anybody."""
    assert not CREDENTIALS.admits(header)


def test_push_with_right_credentials_is_admitted():
    """The password is not printed."""
    assert CREDENTIALS.admits(basic("iys:fake-password"))
    assert "fake-password" not in repr(CREDENTIALS)


def test_stands_reads_the_answer_of_a_made_connection():
    """İYS's two sentences differ by one syllable."""
    assert is_registered("Bağlantı Oluşturuldu")
    assert not is_registered("Bağlantı Oluşturulamadı")
    assert not is_registered(None)
