"""The decisions that sink processes ingest."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from izin.consent.admission import RefusedEvent, admit
from izin.consent.model import Consent, DecisionKind
from izin.consent.ordering import decide
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.support.builders import a_decision_record, an_event


@dataclass(kw_only=True)
class DecisionSource:
    """The order stage in a few lines: what it would have decided, written to its topic."""

    settings: KafkaSettings
    states: dict[str, Consent] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    """How many of each recipient."""
    decisions: int = 0
    _codec: Codec = field(default_factory=Codec)
    _began: datetime = field(
        default_factory=lambda: datetime.now(UTC).replace(microsecond=0) - timedelta(hours=20)
    )

    def publish(self, *events: tuple[str, str]) -> None:
        """Have recipients opt in or out, each a minute after their last event."""
        producer = kafka.producer(self.settings)
        for recipient, status in events:
            number = self.events[recipient] = self.events.get(recipient, 0) + 1
            at = self._began + timedelta(minutes=number)
            event = an_event(
                event_id=f"{recipient}-{number}",
                recipient=recipient,
                status=status,
                consent_date=at,
                received_at=at,
            )
            claim = admit(event, appended_at=datetime.now(UTC))
            assert not isinstance(claim, RefusedEvent)
            key = str(claim.key)
            decision = decide(self.states.get(key), claim)
            assert decision.kind is DecisionKind.APPLY
            self.states[key] = decision.consent
            record = a_decision_record(decision, offset=self.decisions)
            value = self._codec.encode("Decision", record)
            producer.produce(self.settings.topics.decisions.name, key=key.encode(), value=value)
            self.decisions += 1
        assert producer.flush(20) == 0
