"""What a check of the doctor is, what it finds, and how checks run one after the other.

None fails because of what it finds. A check that depends on another is skipped where that one
failed: a part that is away is reported once, and waited for once.

Missing topics are created by ``--fix``, but in an installation that is in use not every one: an
empty state topic is believed. Order workers over an empty ``desired-consents`` decide every event
again and publish every opt-out again, and a gate over empty ``permissions`` knows of no opt-out. So
one that others build on is created only once a person says that no worker runs, and with the
command that restores it. What only tells of the past may be created at any time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import psycopg
from pydantic import ValidationError
from pydantic_settings import SettingsError

from izin.consent import IzinError
from izin.kafka import clients
from izin.runtime.logs import wrong_settings
from izin.runtime.settings import KafkaSettings, StreamSettings
from izin.schemas.topics import Topic, Topics

_PUBLISH_AGAIN = "have its producers publish again what was not decided (duplicates have no effect)"

_REPUBLISH = "izin ledger republish --execute; a sink worker publishes it"


class CheckState(StrEnum):
    """How a check ended."""

    OK = "ok"
    WRONG = "wrong"
    FIXED = "fixed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """What a check found, with the remedy."""

    state: CheckState
    check: str
    what: str


ok = partial(DoctorFinding, CheckState.OK)
"""Makes of a check, and what it found, that all is well."""
wrong = partial(DoctorFinding, CheckState.WRONG)
"""What is wrong, with the remedy."""
fixed = partial(DoctorFinding, CheckState.FIXED)
"""What was corrected."""
skipped = partial(DoctorFinding, CheckState.SKIPPED)
"""Why the check was not made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check, how to correct what it finds, and which others must have passed before it."""

    name: str
    run: Callable[[], Iterable[DoctorFinding]]
    fix: Callable[[bool], Iterable[DoctorFinding]] | None = None
    """Corrects what can be corrected, given whether a person says that no worker runs; it runs
    before the check, where it is asked for."""
    needs: frozenset[str] = frozenset()


def findings(
    checks: Sequence[Check], *, fix: bool, stopped: bool = False
) -> Iterator[DoctorFinding]:
    """Yield what ``checks`` find, in their order, each as it comes; ``stopped``: a person says that
    no worker runs.
    """
    failed: dict[str, frozenset[str]] = {}
    for check in checks:
        causes = frozenset().union(*(failed.get(need, frozenset()) for need in check.needs))
        if causes:
            failed[check.name] = causes
            yield skipped(check.name, f"not checked; first correct: {', '.join(sorted(causes))}")
            continue
        for one in _caught(check, fix=fix, stopped=stopped):
            if one.state in {CheckState.WRONG, CheckState.SKIPPED}:
                failed[one.check] = frozenset({one.check})
            yield one


def _caught(check: Check, *, fix: bool, stopped: bool) -> Iterator[DoctorFinding]:
    """Yield what ``check`` finds; an error that keeps it from looking is a finding too."""
    name = check.name
    try:
        if fix and check.fix is not None:
            yield from check.fix(stopped)
        yield from check.run()
    except ValidationError as error:
        kinds = {one["type"] for one in error.errors()}
        made = skipped if kinds == {"missing"} else wrong
        yield made(name, wrong_settings(error))
    except (SettingsError, IzinError) as error:
        yield wrong(name, str(error))
    except psycopg.Error as error:
        # Its text may have the password.
        kind = type(error).__name__
        yield wrong(name, f"{kind}; is PostgreSQL running, and is DATABASE_URL right?")
    except TimeoutError:
        yield wrong(name, "no answer in time; what keeps the server from answering?")
    except Exception as error:  # noqa: BLE001  # whatever it is, the other checks are still to be made
        yield wrong(
            name,
            f"{type(error).__name__}, which is unexpected; are the settings right that it reads "
            "(docs/settings.md)?",
        )


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
        topics.permissions.name: _REPUBLISH,
        topics.opted_out_merchants.name: "nothing else tells which erased merchants opted out: "
        "have no customer in IZIN_GATE_UNREGISTERED_MERCHANTS any more",
        topics.brands.name: _REPUBLISH,
        topics.api_keys.name: _REPUBLISH,
    }


def fix_topics(settings: KafkaSettings, *, stopped: bool) -> Iterator[DoctorFinding]:
    """Create what is missing and may be created, and correct settings; ``stopped``: a person says
    that no worker runs.
    """
    lost = remedies(settings)
    kept = (
        () if stopped and not clients.members(settings, StreamSettings().group(settings)) else lost
    )
    for name in clients.ensure_topics(settings, without=kept):
        then = lost.get(name)
        yield fixed("topics", f"created {name}{f', which is empty: {then}' if then else ''}")
    if changed := clients.repair_topics(settings):
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
        topic.name: f"{how}--no-running, and before they start: {then[topic.name]}"
        for topic in topics
        if in_use and topic not in free
    }


def _is_in_use(settings: KafkaSettings) -> bool:
    """Whether the order stage or the sinks have ever written something that is still there."""
    topics, missing = settings.topics, clients.missing_topics(settings)
    written = (topics.positions, topics.decisions, topics.desired_consents, topics.permissions)
    return any(
        any(clients.committed_ends(settings, topic.name).values())
        for topic in written
        if topic.name not in missing
    )
