"""A row of ``desired-consents`` becomes the consent it was, and nothing else becomes one."""

import pytest

from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import consent_to_avro
from izin.streams.errors import StateError
from izin.streams.ownership.changelog import Changelog
from izin.streams.state.packing import facts_of
from tests.support.order.harness import CODEC, ONAY, row_of
from tests.support.registry import MemoryRegistry

CHANGELOG = Changelog(0, KafkaSettings(), "group", CODEC)


def test_row_in_another_framing_is_read() -> None:
    """What another installation's framing wrote takes the codec's way."""
    registered = Changelog(0, KafkaSettings(), "group", Codec(MemoryRegistry()))
    assert registered._row(row_of(ONAY), 7) == facts_of(ONAY)


def test_tombstone_has_no_facts() -> None:
    """A key erased from the topic has no row."""
    assert CHANGELOG._row(None, 7) is None


@pytest.mark.parametrize(
    "field", [{"status": "MAYBE"}, {"type": "FAX"}, {"recipient_type": "X"}, {"origin_rank": 9}]
)
def test_row_with_an_unknown_word_raises_state_error(field: dict[str, object]) -> None:
    """A row that could be read but means nothing is no consent."""
    assert CHANGELOG._row(row_of(ONAY), 6) == facts_of(ONAY)
    row = CODEC.encode("Consent", consent_to_avro(ONAY) | field)
    with pytest.raises(StateError, match=r"desired-consents\[0\]@7 is no consent"):
        CHANGELOG._row(row, 7)
