"""``deploy/kafka/acls.sh``, made of the rights that ``izin.kafka.rights`` names."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from izin.kafka.rights import ROLES, Acl, Resource, acls
from izin.schemas.topics import Topics

PREFIX = "${IZIN_TOPIC_PREFIX:-}"
_HEAD = """#!/bin/sh
# The rights of izin in Kafka: a principal for each kind of process, and nothing more than it needs.
# Made of izin/kafka/rights.py by: python -m tools.generate
#
#     BOOTSTRAP=kafka-1.example.com:9093 CONFIG=admin.properties deploy/kafka/acls.sh
#
# CONFIG authenticates one who may alter ACLs. It needs kafka-acls.sh of Apache Kafka in PATH.
# PRINCIPAL is what stands before the names of the roles: User:izin- makes User:izin-intake. It only
# adds, and can be repeated. Where the topics have a prefix, set IZIN_TOPIC_PREFIX.
#
# The brokers: authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer,
# allow.everyone.if.no.acl.found=false, auto.create.topics.enable=false, and
# transaction.max.timeout.ms=15000: another's open transaction holds back the opt-outs behind it.
# The settings of the topics are `izin doctor --fix`'s.
set -eu
: "${BOOTSTRAP:?host:port of a broker}" "${CONFIG:?a file with the properties of an administrator}"

allow() {
    role=$1
    shift
    kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config "$CONFIG" --add --force \\
        --allow-principal "${PRINCIPAL:-User:}$role" "$@" >/dev/null
}
"""
_OPTIONS = {
    Resource.TOPIC: "--topic",
    Resource.GROUP: "--group",
    Resource.TRANSACTIONAL_ID: "--transactional-id",
}


def acls_script() -> str:
    """Return the script."""
    lines = [_HEAD]
    for name, role in ROLES.items():
        lines += [f"\n# {role.about}\n", *_commands(name, list(acls(role, Topics(PREFIX))))]
    return "".join(lines)


def _commands(role: str, given: Sequence[Acl]) -> Iterator[str]:
    """Yield a command for resources of one kind with the same operations."""
    operations = defaultdict[tuple[Resource, str, bool], list[str]](list)
    for one in given:
        operations[one.resource, one.name, one.is_prefix].append(one.operation)
    alike = defaultdict[tuple[Resource, bool, tuple[str, ...]], list[str]](list)
    for (resource, name, is_prefix), of_one in operations.items():
        alike[resource, is_prefix, tuple(of_one)].append(name)
    for (resource, is_prefix, of_all), names in alike.items():
        words = [f"--operation {operation}" for operation in of_all]
        words += ["--resource-pattern-type prefixed"] * is_prefix
        if resource is Resource.CLUSTER:
            words.append("--cluster")
        else:
            words += [f'{_OPTIONS[resource]} "{name}"' for name in names]
        yield f"allow {role} {' '.join(words)}\n"
