"""What each kind of process may do in Kafka: the rights (ACLs) of one principal each.

A process that is broken into can do no more: the intake reads no opt-out, the gate publishes no
consent, a subscriber writes nothing. ``deploy/kafka/acls.sh`` is made of this.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Final, NamedTuple

from izin.schemas.topics import Topics


class Resource(StrEnum):
    """What a right is on."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional-id"
    CLUSTER = "cluster"


class Acl(NamedTuple):
    """An ACL that allows an operation; names are as ``kafka-acls.sh`` has them."""

    resource: Resource
    name: str
    operation: str
    is_prefix: bool = False
    """Whether it is on every resource whose name begins with ``name``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """The rights of one kind of process; topics are attributes of ``Topics``."""

    about: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    """What the names of its consumer groups begin with; ``{prefix}`` is that of the topics."""
    transactions: tuple[str, ...] = ()
    """The same of its transactional ids."""
    of_all: tuple[str, ...] = ()
    """What it may do with every topic: look at its settings, create and correct it."""
    administers: bool = False
    """Whether it is a person's, who may see the cluster's settings too."""


_EVENTS: Final = ("events", "express")
_FEEDS: Final = ("opt_outs", "permissions", "outcomes")
_ALL: Final = tuple(vars(Topics()).keys() - {"prefix"})
_ORDER: Final = "{prefix}izin-order"
"""As ``IZIN_APP_ID`` has it."""
EVERY: Final = "*"
_READERS: Final = "izin-"
"""Groups of readers that keep their positions themselves: Kafka's client looks up who has them."""
_INSPECTS: Final = ("Describe", "DescribeConfigs")
_ADMINISTERS: Final = (*_INSPECTS, "Create", "AlterConfigs", "Delete")
ROLES: Final[Mapping[str, Role]] = {
    "publisher": Role(
        about="izin outbox, and programs that publish with the library or a Kafka client.",
        reads=("brands",),
        writes=_EVENTS,
    ),
    "intake": Role(
        about="izin intake.",
        reads=("brands", "api_keys", "first_receipts"),
        writes=(*_EVENTS, "first_receipts", "dead_letters"),
    ),
    "order": Role(
        about="izin order.",
        reads=(*_EVENTS, "desired_consents", "positions"),
        writes=(
            *("decisions", "desired_consents", "positions", "opt_outs"),
            *("opted_out_merchants", "dead_letters"),
        ),
        groups=(_ORDER,),
        transactions=(_ORDER,),
        of_all=_INSPECTS,
    ),
    "sink": Role(
        about="izin sink.",
        reads=(
            *(*_EVENTS, "decisions", "desired_consents", "gate_receipts"),
            *("ledger_positions", "anchors"),
        ),
        writes=(
            *(*_EVENTS, "permissions", "outcomes", "brands", "api_keys", "ledger_positions"),
            *("freshness", "anchors", "dead_letters"),
        ),
        transactions=("{prefix}izin-ledger-outbox",),
    ),
    "gate": Role(
        about="izin gate.",
        reads=(
            *(*_EVENTS, "api_keys", "brands", "decisions", "freshness", "ledger_positions"),
            *("opted_out_merchants", "permissions", "positions"),
        ),
        writes=("gate_receipts",),
    ),
    "feeds": Role(about="izin feeds.", reads=("api_keys", "brands", *_FEEDS)),
    "webhooks": Role(about="izin webhooks.", reads=("brands", "decisions", *_FEEDS)),
    "api": Role(about="izin api.", reads=("api_keys", "brands", *_EVENTS), writes=("express",)),
    "console": Role(
        about="izin console.",
        reads=(*_EVENTS, "brands", "decisions", "dead_letters"),
        writes=_EVENTS,
    ),
    "subscriber": Role(
        about="Programs that subscribe; groups begin with the name of the subscriber.",
        reads=_FEEDS,
        groups=("subscriber-",),
    ),
    "operator": Role(
        about="People at the command line.",
        reads=_ALL,
        writes=_ALL,
        groups=(EVERY,),
        transactions=(EVERY,),
        of_all=_ADMINISTERS,
        administers=True,
    ),
}
"""By principal: every process, programs that publish with the library or a Kafka client, those that
subscribe, and people at the command line."""


def acls(role: Role, topics: Topics) -> Iterator[Acl]:
    """Yield the ACLs of ``role`` on ``topics``."""
    for name, operations in _on_topics(role, topics).items():
        for operation in operations:
            yield Acl(Resource.TOPIC, name, operation)
    if role.reads:
        yield Acl(Resource.GROUP, _READERS, "Describe", is_prefix=True)
    for names, resource, operations in (
        (role.groups, Resource.GROUP, ("Read", "Describe")),
        (role.transactions, Resource.TRANSACTIONAL_ID, ("Write", "Describe")),
    ):
        for name, operation in product(names, operations):
            full = name.format(prefix=topics.prefix)
            yield Acl(resource, full, operation, is_prefix=name != EVERY)
    if role.administers:
        for operation in _INSPECTS:
            yield Acl(Resource.CLUSTER, "kafka-cluster", operation)


_IMPLIED_BY: Final[Mapping[str, frozenset[str]]] = {
    "Describe": frozenset({"Read", "Write", "Delete", "Alter"}),
    "DescribeConfigs": frozenset({"AlterConfigs"}),
}


def covers(given: Acl, wanted: Acl) -> bool:
    """Whether who has ``given`` may do what ``wanted`` says."""
    is_same = given[:2] == wanted[:2] and given.is_prefix >= wanted.is_prefix
    is_in = given.is_prefix and wanted.name.startswith(given.name)
    implied_by = _IMPLIED_BY.get(wanted.operation, frozenset())
    return (
        given.resource is wanted.resource
        and (is_same or is_in or given.name == EVERY)
        and given.operation in {"All", wanted.operation, *implied_by}
    )


def difference(given: Collection[Acl], wanted: Collection[Acl]) -> tuple[list[Acl], list[Acl]]:
    """Return which of ``wanted`` nothing gives, and which of ``given`` allows more than it."""
    return (
        [one for one in wanted if not any(covers(each, one) for each in given)],
        [one for one in given if not any(covers(each, one) for each in wanted)],
    )


def _on_topics(role: Role, topics: Topics) -> Mapping[str, Sequence[str]]:
    """Return the operations on each topic."""
    found = {topic.name: [*role.of_all] for topic in topics if role.of_all}
    for attributes, operation in ((role.reads, "Read"), (role.writes, "Write")):
        for attribute in attributes:
            found.setdefault(getattr(topics, attribute).name, ["Describe"]).append(operation)
    return found
