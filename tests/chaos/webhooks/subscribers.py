"""Subscribers that fail at random, and note in which order what came was answered."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random

import orjson

from benchmarks.webhooks.receiver import TAKEN, ReceivedWebhook, ScriptedAnswer

Coordinates = tuple[str, int, int]
"""Topic, partition and offset of a record."""
FAILURES: tuple[ScriptedAnswer, ...] = (
    ScriptedAnswer(500),
    ScriptedAnswer(400),
    ScriptedAnswer(301, (("location", "http://127.0.0.1:9/"),)),
    ScriptedAnswer(429, (("retry-after", "0"),)),
    ScriptedAnswer(503, (("retry-after", "1"),)),
    ScriptedAnswer(is_cut=True),
    ScriptedAnswer(after=3.0),
    ScriptedAnswer(200, body=b"x" * 200_000),
)
"""How a subscriber misbehaves; the last two take the event, one of them too late."""


@dataclass(slots=True)
class FailingSubscriber:
    """One subscriber: how often it fails, and what it has seen."""

    random: Random
    left: int
    """Failures that are still to come."""
    share: float = 0.25
    failures: Counter[str] = field(default_factory=Counter)
    taken: dict[str, Coordinates] = field(default_factory=dict)
    """By id: the events that were answered with 2xx at once."""
    came: dict[str, Coordinates] = field(default_factory=dict)
    """By id: every event that came."""
    ids: dict[Coordinates, set[str]] = field(default_factory=lambda: defaultdict(set))
    repeated: int = 0
    faults: list[str] = field(default_factory=list)
    _latest: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    """By recipient and topic: the latest event that came."""

    def __call__(self, webhook: ReceivedWebhook) -> ScriptedAnswer:
        """Note an event, and answer it."""
        own, data = webhook.headers["webhook-id"], orjson.loads(webhook.body)["data"]
        place = data["topic"], data["partition"], data["offset"]
        self.ids[place].add(own)
        if own in self.came:
            self.repeated += 1
        else:
            self._note_order(data, own)
            self.came[own] = place
        answer = self._answer()
        if answer.status == TAKEN.status and not answer.is_cut:
            self.taken[own] = place
        return answer

    def _note_order(self, data: dict[str, object], own: str) -> None:
        recipient = f"{data['brand_code']}/{data['type']}/{data['recipient']}"
        who, offset = (recipient, str(data["topic"])), int(str(data["offset"]))
        before = self._latest.get(who)
        if before is not None:
            if offset < before[0]:
                self.faults.append(f"{who}: {offset} came after {before[0]}")
            elif before[1] not in self.taken:
                self.faults.append(f"{who}: {offset} came before {before[0]} was taken")
        self._latest[who] = offset, own

    def _answer(self) -> ScriptedAnswer:
        if self.left and self.random.random() < self.share:
            self.left -= 1
            failure = self.random.choice(FAILURES)
            self.failures[_name(failure)] += 1
            return failure
        return TAKEN


def _name(failure: ScriptedAnswer) -> str:
    if failure.is_cut:
        return "connection cut"
    return "late" if failure.after else f"status {failure.status}"
