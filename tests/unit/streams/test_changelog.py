"""A row of ``desired-consents`` becomes the consent it was, and nothing else becomes one."""

import sys
from dataclasses import replace

import pytest
from hypothesis import given

from izin.consent.model import LAW_VERSION, Consent
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import consent_from_avro, consent_to_avro
from izin.streams.errors import StateError
from izin.streams.ownership.changelog import Changelog, FrequentSwitching
from izin.streams.state.packing import facts_of
from tests.support.order_harness import CODEC, ONAY, row_of
from tests.unit.streams.test_packing import consents

CHANGELOG = Changelog(0, KafkaSettings(), "group", CODEC)


@given(consents())
def test_the_short_way_reads_what_the_codec_reads(consent: Consent) -> None:
    """Whatever we write comes back the same on either way."""
    row = row_of(replace(consent, law_version=LAW_VERSION))
    assert CHANGELOG._row(row, 7) == facts_of(consent_from_avro(CODEC.decode("Consent", row)))


def test_a_row_that_is_framed_otherwise_is_read_too() -> None:
    """What another installation's framing wrote takes the codec's way."""

    class OneSchema:
        def id_of(self, _: object) -> int:
            return 7

        def schema_of(self, _: int) -> object:
            return CODEC._current["Consent"].schema

    registered = Changelog(0, KafkaSettings(), "group", Codec(OneSchema()))
    assert registered._row(row_of(ONAY), 7) == facts_of(ONAY)


def test_a_tombstone_is_no_consent() -> None:
    """A key erased from the topic is told as such."""
    assert CHANGELOG._row(None, 7) is None


@pytest.mark.parametrize(
    "field", [{"status": "MAYBE"}, {"type": "FAX"}, {"recipient_type": "X"}, {"origin_rank": 9}]
)
def test_a_word_the_law_does_not_know_stops_the_worker(field: dict[str, object]) -> None:
    """A row that could be read but means nothing is no consent."""
    assert CHANGELOG._row(row_of(ONAY), 6) == facts_of(ONAY)
    row = CODEC.encode("Consent", consent_to_avro(ONAY) | field)
    with pytest.raises(StateError, match=r"desired-consents\[0\]@7 is no consent"):
        CHANGELOG._row(row, 7)


@pytest.mark.parametrize("cut", [-1, 1])
def test_a_row_of_the_wrong_length_stops_the_worker(cut: int) -> None:
    """Bytes that are missing or left over are not passed over."""
    row = row_of(ONAY)
    with pytest.raises(StateError):
        CHANGELOG._row(row[:cut] if cut < 0 else row + b"x", 7)


def test_the_interpreter_is_handed_over_often_while_anybody_reads() -> None:
    """Partitions are read side by side; the last to be done leaves things as they were."""
    before = sys.getswitchinterval()
    switching = FrequentSwitching(before / 2)
    with switching:
        with pytest.raises(StateError), switching:
            raise StateError("no state of ours")
        assert sys.getswitchinterval() == pytest.approx(before / 2)
    assert sys.getswitchinterval() == pytest.approx(before)
