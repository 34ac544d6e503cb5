"""Which missing topics ``izin doctor --fix`` may create in an installation that is in use.

An empty state topic is believed: order workers over an empty ``desired-consents`` decide every
event again and publish every opt-out again, and a gate over empty ``permissions`` knows of no
opt-out. So one that others build on is created only once a person says that no worker runs, and
with the command that restores it. What only tells of the past may be created at any time.
"""

from collections.abc import Iterator, Mapping

from izin.console.doctor.finding import Finding, fixed
from izin.runtime import kafka, topic_admin
from izin.runtime.settings import KafkaSettings, StreamSettings
from izin.schemas.topics import Topic, Topics

_PUBLISH_AGAIN = "have its producers publish again what was not decided (duplicates have no effect)"


def created_at_any_time(topics: Topics) -> tuple[Topic, ...]:
    """Return the topics from whose records nobody concludes what stands."""
    return (
        topics.first_receipts,
        topics.decisions,
        topics.opt_outs,
        topics.outcomes,
        topics.ledger_positions,
        topics.freshness,
        topics.gate_receipts,
        topics.anchors,
        topics.dead_letters,
    )


def restored_by(topics: Topics) -> Mapping[str, str]:
    """Return, by name, how the content comes back of each topic that others build on."""
    replay = "izin replay rebuild {} --plan FILE, then izin replay run FILE --execute"
    return {
        topics.events.name: _PUBLISH_AGAIN,
        topics.express.name: _PUBLISH_AGAIN,
        topics.desired_consents.name: replay.format("desired-consents"),
        topics.positions.name: "every event is decided again over the rows that stand, so look "
        "at those first: izin replay rebuild desired-consents --plan FILE",
        topics.permissions.name: replay.format("permissions"),
        topics.opted_out_merchants.name: "nothing else tells which erased merchants opted out: "
        "have no customer in IZIN_GATE_UNREGISTERED_MERCHANTS any more",
        topics.brands.name: "izin brands add for each brand of izin brands list, as it is",
        topics.api_keys.name: "izin keys create for each key of izin keys list",
    }


def fix_topics(settings: KafkaSettings, *, stopped: bool) -> Iterator[Finding]:
    """Create what is missing and may be created, and correct settings; ``stopped``: a person says
    that no worker runs.
    """
    lost = remedies(settings)
    group = StreamSettings().group(settings)
    kept = () if stopped and not topic_admin.members(settings, group) else lost
    for name in topic_admin.ensure_topics(settings, without=kept):
        then = lost.get(name)
        yield fixed("topics", f"created {name}{f', which is empty: {then}' if then else ''}")
    if changed := topic_admin.repair_topics(settings):
        yield fixed("topics", f"settings of {', '.join(changed)}")


def remedies(settings: KafkaSettings) -> dict[str, str]:
    """Return, by name, what to do about each topic that may not be created at any time; nothing in
    an installation of which nothing was ever decided.
    """
    topics = settings.topics
    free, then = created_at_any_time(topics), restored_by(topics)
    in_use = _is_in_use(settings)
    how = "stop every order and sink worker, gate and intake; then create it by izin doctor --fix "
    return {
        one.name: f"{how}--no-running, and before they start: {then[one.name]}"
        for one in topics
        if in_use and one not in free
    }


def _is_in_use(settings: KafkaSettings) -> bool:
    """Whether the order stage or the sinks have ever written something that is still there."""
    topics, missing = settings.topics, topic_admin.missing_topics(settings)
    written = (topics.positions, topics.decisions, topics.desired_consents, topics.permissions)
    return any(
        any(kafka.committed_ends(settings, one.name).values())
        for one in written
        if one.name not in missing
    )
