"""What the doctor finds about rights: those of the login at PostgreSQL, by its role in
``deploy/postgres/roles.sql``, and those at Kafka, by ``izin.kafka.rights``.

Nothing is written to find out. PostgreSQL says what its login may do. Kafka shows its ACLs to
operators, and anybody what itself may do with a topic or a consumer group; of transactional ids
only the ACLs say it.
"""

from collections.abc import Mapping, Sequence
from itertools import chain

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from izin.cli.doctor.finding import DoctorFinding, ok, wrong
from izin.kafka import clients
from izin.kafka.connections import while_leaders_move
from izin.kafka.rights import (
    EVERY,
    ROLES,
    Acl,
    Resource,
    acls,
    covers,
    difference,
)
from izin.ledger.reads import LoginRights
from izin.runtime.settings import KafkaSettings

_NAMED = 5
_ROLES_SQL = (
    'have the owner run psql "$DATABASE_URL" --single-transaction --set ON_ERROR_STOP=1 --file '
    "deploy/postgres/roles.sql"
)
_EVERY_ACL = AclBindingFilter(
    ResourceType.ANY,
    None,
    ResourcePatternType.ANY,
    None,
    None,
    AclOperation.ANY,
    AclPermissionType.ANY,
)
_EVERYBODY = "User:*"
_NOBODYS = Acl(Resource.GROUP, "izin-", "Delete", is_prefix=True)
"""What no role may do."""
_RESOURCES: Mapping[ResourceType, Resource] = {
    ResourceType.TOPIC: Resource.TOPIC,
    ResourceType.GROUP: Resource.GROUP,
    ResourceType.TRANSACTIONAL_ID: Resource.TRANSACTIONAL_ID,
    ResourceType.BROKER: Resource.CLUSTER,
}
_REFUSED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
"""What the check of topics does not say already is that the login has no right on it."""


def of_login(rights: LoginRights, *, production: bool) -> list[DoctorFinding]:
    """Return whether the login at PostgreSQL has the rights of its role, and no others."""
    login, role = rights.login, rights.role
    faults = {
        f"{login} owns the tables or is a superuser: it could rewrite the history, and no process "
        f"or person at work needs that; {_ROLES_SQL}, and give DATABASE_URL a login in a role of "
        "it": role == "owner" and production,
        f"{login} is in none of the roles; {_ROLES_SQL}, then: GRANT izin_worker TO {login} (a "
        "process), izin_console (the console), or izin_operator (a person)": role is None,
        f"{login} lacks what {role} has: {_listed(rights.missing)}; {_ROLES_SQL}": role is not None
        and rights.missing,
        f"{login} may do more than {role}: {_listed(rights.too_wide)}; {_ROLES_SQL}; what it may "
        "then still do was given to it, or to another role that it is in: REVOKE it": role
        is not None
        and rights.too_wide,
    }
    return [wrong("roles", text) for text, is_so in faults.items() if is_so] or [
        ok("roles", f"{login} has the rights of {role}, and no others")
    ]


def of_kafka(settings: KafkaSettings) -> list[DoctorFinding]:
    """Return whether principals at Kafka have the rights of their roles, and no others; raises
    BrokerError.

    An operator sees the ACLs of each principal that is named as its own, with another role at the
    end, and those of everybody. Any other login is compared with the role at the end of its name,
    else with the one whose rights are nearest.
    """
    name = settings.sasl_username or ""
    own = [role for role in ROLES if _is_of(name, role)]
    lead = f"User:{name.removesuffix(''.join(own))}"
    wanted = {name: [*acls(role, settings.topics)] for name, role in ROLES.items()}
    client = clients.admin(settings)
    with clients.broker_errors(settings):
        given = _acls(client, wanted)
        found = {
            (f"{lead}{role}", role): difference(theirs, wanted[role])
            for role in ROLES
            if (theirs := [acl for principal, acl in given if principal == f"{lead}{role}"])
        }
        if not found:
            tried = _tried(client, settings, wanted)
            if not given and any(covers(acl, _NOBODYS) for acl in tried):
                return [_everybody(settings)]
            of_role = {
                (name or "this login", role): difference(
                    tried, [*filter(_can_be_tried, wanted[role])]
                )
                for role in own or ROLES
            }
            nearest = min(of_role, key=lambda who: sum(map(len, of_role[who])))
            found = {nearest: of_role[nearest]}
    found[_EVERYBODY, "any role"] = [], [acl for who, acl in given if who == _EVERYBODY]
    faults = {
        f"{who} {what}: {_listed([*map(_text, differing)])}; {remedy}": differing
        for (who, role), (missing, too_wide) in found.items()
        for what, differing, remedy in (
            (f"lacks what {role} has", missing, "run deploy/kafka/acls.sh"),
            (f"may do more than {role}", too_wide, "take it away: kafka-acls.sh --remove"),
        )
    }
    return [wrong("acls", text) for text, differing in faults.items() if differing] or [
        ok("acls", f"{', '.join(role for _, role in [*found][:-1])}: their rights, and no others")
    ]


def _is_of(name: str, role: str) -> bool:
    """Whether a login is named as a role, or as something, a separator and the role."""
    return name.endswith(role) and not name.removesuffix(role)[-1:].isalnum()


def _everybody(settings: KafkaSettings) -> DoctorFinding:
    """Return what to say of brokers without an authorizer."""
    is_local = settings.security_protocol == "PLAINTEXT" and not settings.production
    said = "the brokers have no authorizer and no ACLs: everybody may do everything"
    remedy = (
        "set authorizer.class.name and allow.everyone.if.no.acl.found=false at each, then run "
        "deploy/kafka/acls.sh, which names both; and give this login none of super.users"
    )
    return ok("acls", said) if is_local else wrong("acls", f"{said}; {remedy}")


def _acls(client: AdminClient, wanted: Mapping[str, Sequence[Acl]]) -> list[tuple[str, Acl]]:
    """Return what is allowed to each principal on anything that a role has a right on; nothing
    where this login may not see it, or the brokers have no authorizer. Raises KafkaException.
    """
    bindings = client.describe_acls(_EVERY_ACL).result(clients.TIMEOUT)
    found = [
        (one.principal, Acl(_RESOURCES[one.restype], one.name, _word(one.operation), is_prefix))
        for one in bindings
        if one.permission_type is AclPermissionType.ALLOW and one.restype in _RESOURCES
        for is_prefix in [one.resource_pattern_type is ResourcePatternType.PREFIXED]
    ]
    return [
        (who, acl) for who, acl in found if any(covers(acl, one) for one in chain(*wanted.values()))
    ]


@while_leaders_move
def _tried(
    client: AdminClient, settings: KafkaSettings, wanted: Mapping[str, Sequence[Acl]]
) -> list[Acl]:
    """Return what this login may do with each topic that exists, and with the groups that roles
    have; raises KafkaException.
    """
    groups = {one.name for one in chain(*wanted.values()) if one.resource is Resource.GROUP}
    topics = TopicCollection([topic.name for topic in settings.topics])
    options = {"include_authorized_operations": True, "request_timeout": clients.TIMEOUT}
    found = []
    for resource, futures in (
        (Resource.TOPIC, client.describe_topics(topics, **options)),
        (Resource.GROUP, client.describe_consumer_groups(sorted(groups - {EVERY}), **options)),
    ):
        for name, future in futures.items():
            error = future.exception(clients.TIMEOUT)
            if error is None:
                found += [
                    Acl(resource, name, _word(one), resource is Resource.GROUP)
                    for one in future.result().authorized_operations
                ]
            elif not isinstance(error, KafkaException) or error.args[0].code() not in _REFUSED:
                raise error
    return found


def _can_be_tried(acl: Acl) -> bool:
    return acl.resource in {Resource.TOPIC, Resource.GROUP} and acl.name != EVERY


def _word(operation: AclOperation) -> str:
    """Return an operation as ``kafka-acls.sh`` has it."""
    return str(operation.name).title().replace("_", "")


def _text(acl: Acl) -> str:
    return f"{acl.operation} on {acl.resource} {acl.name}{'*' * acl.is_prefix}"


def _listed(names: Sequence[str]) -> str:
    """Return the first names, and how many there are beside them."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
