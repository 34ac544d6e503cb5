"""``deploy/kafka/acls.sh`` says to Kafka's own program what ``izin.kafka.rights`` names."""

import os
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from izin.kafka.rights import ROLES, Acl, Resource, acls
from izin.schemas.topics import Topics
from tests.support.project_rules import ROOT

SCRIPT = ROOT / "deploy/kafka/acls.sh"
STUB = """#!/bin/sh
printf '%s\\n' "$@" END >> "$SAID"
"""
RESOURCES = {
    "--topic": Resource.TOPIC,
    "--group": Resource.GROUP,
    "--transactional-id": Resource.TRANSACTIONAL_ID,
}


def read(words: list[str]) -> Iterator[tuple[str, Acl]]:
    """Yield the role and each ACL of one command."""
    options = defaultdict[str, list[str]](list)
    for name, value in pairwise([*words, ""]):
        options[name].append(value)
    (principal,) = options["--allow-principal"]
    is_prefix = options["--resource-pattern-type"] == ["prefixed"]
    named = [(kind, one) for option, kind in RESOURCES.items() for one in options[option]]
    if "--cluster" in options:
        named.append((Resource.CLUSTER, "kafka-cluster"))
    for kind, name in named:
        for operation in options["--operation"]:
            yield principal, Acl(kind, name, operation, is_prefix)


@pytest.mark.parametrize("prefix", ["", "shop-"])
def test_script_allows_what_the_rights_name(tmp_path: Path, prefix: str) -> None:
    """Under a prefix of topics and of principals too."""
    stub, said = tmp_path / "kafka-acls.sh", tmp_path / "said"
    stub.write_text(STUB, "utf-8")
    stub.chmod(0o700)
    given = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SAID": str(said),
        "BOOTSTRAP": "127.0.0.1:1",
        "CONFIG": "admin.properties",
        "PRINCIPAL": "User:izin-",
        "IZIN_TOPIC_PREFIX": prefix,
    }
    subprocess.run(["sh", SCRIPT], env=given, check=True)
    commands = said.read_text("utf-8").split("\nEND\n")[:-1]
    found = {one for command in commands for one in read(command.split("\n"))}
    named = {
        (f"User:izin-{name}", acl)
        for name, role in ROLES.items()
        for acl in acls(role, Topics(prefix))
    }
    assert found == named


def test_script_without_a_broker_names_what_is_missing() -> None:
    """It changes nothing then."""
    done = subprocess.run(
        ["sh", SCRIPT], env={"PATH": os.environ["PATH"]}, capture_output=True, check=False
    )
    assert done.returncode != 0
    assert b"BOOTSTRAP" in done.stderr
