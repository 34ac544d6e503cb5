"""docker-compose.yml and the Dockerfile match the code; checked without Docker."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import yaml

from tests.contract import compose
from tests.contract.compose import Papers, papers

Check = Callable[[Papers], Iterator[str]]

CHECKS = (
    compose.structure,
    compose.order,
    compose.images,
    compose.secrets,
    compose.image,
    compose.commands,
    compose.variables,
    compose.values,
    compose.simulated_account,
    compose.ports,
    compose.addresses,
)

YAML, DOCKERFILE, SECRETS, IGNORED = "text", "dockerfile", "secrets", "ignored"

BROKEN = [
    (compose.structure, YAML, "\nservices:", "\nverison: '3'\nservices:", "verison"),
    (compose.structure, YAML, "restart: unless-stopped", "restarts: no", "restarts"),
    (compose.structure, YAML, "restart: unless-stopped", "restart: sometimes", "sometimes"),
    (compose.structure, YAML, "build: .", "build: [.]", "build: "),
    (compose.structure, YAML, "image: postgres:18", "hostname: db", "hostname"),
    (
        compose.structure,
        YAML,
        'IZIN_SINK_PORT: "8082"',
        "IZIN_SINK_PORT: 8082",
        "IZIN_SINK_PORT: 8082",
    ),
    (compose.structure, YAML, "[order]", "[1]", "command 0: 1"),
    (compose.structure, YAML, '["127.0.0.1:8081:8081", ', '["8081", ', "ports 0"),
    (compose.structure, YAML, "kafka-data:/var", "./data:/var", "./data"),
    (compose.structure, YAML, "\n  postgres-data:", "", "not those declared"),
    (compose.structure, YAML, "retries: 12", "retry: 12", "retry"),
    (compose.structure, YAML, "test: [CMD, pg_isready", "test: [pg_isready", "CMD-SHELL"),
    (compose.structure, YAML, "interval: 5s", "interval: 5", "interval: 5"),
    (compose.order, YAML, "simulator: {condition", "missing: {condition", "does not exist"),
    (compose.order, YAML, "{condition: service_healthy}", "{}", "has no condition"),
    (
        compose.order,
        YAML,
        "healthcheck:\n      <<: *health\n      # Over",
        "unhealthy:\n      # Over",
        "no health check",
    ),
    (compose.order, YAML, 'restart: "no"', "restart: always", "migrate never ends"),
    (
        compose.order,
        YAML,
        "service_completed_successfully",
        "service_started",
        "migrate ends",
    ),
    (compose.order, YAML, "kafka: {condition", "order: {condition", "a circle"),
    (compose.images, YAML, "kafka:4.2.2", "kafka:latest", "apache/kafka latest"),
    (compose.images, YAML, "kafka:4.2.2", "kafka:4.2.1", "where `izin local` has"),
    (compose.images, YAML, "registry:3.3.3", "registry:3", "apicurio-registry 3,"),
    (compose.images, YAML, "image: postgres:18", "image: mysql:9", "not one of ours"),
    (compose.images, DOCKERFILE, "python:3.13-slim AS", "python AS", "no fixed tag"),
    (compose.images, DOCKERFILE, "python:3.13-slim\n", "python:latest\n", "no fixed tag"),
    (compose.secrets, SECRETS, "IYS_PASSWORD=", "IYS_PASSWORD=made-up", "has a value"),
    (compose.secrets, SECRETS, "\nIYS_PASSWORD=", "", "IYS_PASSWORD is not in .env"),
    (compose.secrets, SECRETS, "\nIYS_PASSWORD=", "\nIYS_PASSWORD=\nOTHER=", "uses OTHER"),
    (compose.secrets, YAML, "${IYS_PASSWORD:?set it in .env}", "${IYS_PASSWORD}", "empty"),
    (compose.secrets, YAML, "${IYS_PASSWORD:?set it in .env}", "made-up", "not come from"),
    (compose.secrets, YAML, "[order]", "['${WHAT}']", "WHAT stands outside"),
    (compose.image, DOCKERFILE, "USER 10001", "", "runs as root"),
    (compose.image, DOCKERFILE, "USER 10001", "USER root", "runs as root"),
    (compose.image, DOCKERFILE, "-c constraints.txt '.[server]'", ".", "without constraints"),
    (compose.image, DOCKERFILE, "README.md", "LIESMICH.md", "which does not exist"),
    (compose.image, DOCKERFILE, "WORKDIR /src", "WORKING /src", "WORKING"),
    (compose.image, DOCKERFILE, "python:3.13-slim", "python:3.9-slim", "older than"),
    (compose.image, IGNORED, "!izin\n", "", "keeps out"),
    (compose.image, IGNORED, "!izin\n", "!izin\n!.env\n", "lets .env in"),
    (compose.image, IGNORED, "*\n", "", "begin with everything"),
    (compose.commands, DOCKERFILE, '["izin"]', '["python"]', "ENTRYPOINT"),
    (compose.commands, DOCKERFILE, '["--help"]', '["serve"]', "serve: no such command"),
    (compose.commands, YAML, "[order]", "[orders]", "orders: no such command"),
    (compose.commands, YAML, "doctor --fix", "doctor --mend", "--mend"),
    (compose.commands, YAML, "--iys-code 100001", "", "iys_code"),
    (compose.commands, YAML, "2020-01-01 00:00:00'", "new year'", "new year"),
    (compose.commands, YAML, "izin doctor --fix", "rm doctor", "rm doctor"),
    (compose.commands, YAML, "intake izin publish", "intake izin send", "send"),
    (compose.commands, YAML, 'SIMULATOR_PORT: "8085"', 'SIMULATOR_PORT: "here"', "valid integer"),
    (compose.variables, YAML, "IZIN_SINK_PORT", "IZIN_SINK_PROT", "reads IZIN_SINK_PROT"),
    (compose.variables, YAML, "IZIN_INTAKE_PORT:", "IZIN_SINK_PORT:", "intake: nobody reads"),
    (compose.variables, YAML, "IYS_SIMULATOR_HOST", "IYS_SIMULATOR_HOME", "reads IYS_SIMULATOR_HO"),
    (compose.variables, YAML, "POSTGRES_DB", "POSTGRES_DATABASE", "reads POSTGRES_DATABASE"),
    (compose.variables, YAML, "KAFKA_NODE_ID", "KAFKA_NODE", "reads KAFKA_NODE"),
    (compose.variables, YAML, "QUARKUS_LOG_LEVEL", "LOG_LEVEL", "reads LOG_LEVEL"),
    (compose.values, YAML, 'IZIN_PARTITIONS: "12"', "IZIN_PARTITIONS: many", "IZIN_PARTITIONS"),
    (compose.values, YAML, "IYS_RESULT_DELAY: PT5S", "IYS_RESULT_DELAY: soon", "IYS_RESULT_DELAY"),
    (compose.values, YAML, 'ENABLE: "false"', 'ENABLE: "true"', "AUTO_CREATE_TOPICS_ENABLE is not"),
    (
        compose.simulated_account,
        YAML,
        "RESULT_DELAY: PT5S",
        "RESULT_DELAY: PT300S",
        "result delays",
    ),
    (
        compose.simulated_account,
        YAML,
        "HIDDEN_WINDOW: PT5S",
        "HIDDEN_WINDOW: PT1H",
        "hidden windows",
    ),
    (
        compose.simulated_account,
        YAML,
        "IYS_USERNAME: izin",
        "IYS_USERNAME: other",
        "unknown to the simulator",
    ),
    (compose.simulated_account, YAML, "brands add 100002", "brands add 100003", "brands differ"),
    (
        compose.ports,
        YAML,
        "127.0.0.1:8081:8081",
        "0.0.0.0:8081:8081",
        "open to the network",
    ),
    (compose.ports, YAML, "127.0.0.1:8081:8081", "8081:8081", "open to the network"),
    (compose.ports, YAML, "127.0.0.1:8081:8081", "127.0.0.1:8081:80", "listens on 80"),
    (
        compose.ports,
        YAML,
        "127.0.0.1:8081:8081",
        "127.0.0.1:9081:8081",
        "9081 is not the port",
    ),
    (
        compose.ports,
        YAML,
        "IZIN_SINK_HOST: 0.0.0.0",
        "IZIN_SINK_HOST: 127.0.0.1",
        "listens on 8082",
    ),
    (
        compose.ports,
        YAML,
        "IZIN_SINK_OPERATIONS_HOST: 0.0.0.0",
        "IZIN_SINK_OPERATIONS_HOST: 127.0.0.1",
        "listens on 8092",
    ),
    (
        compose.ports,
        YAML,
        "127.0.0.1:8083/health/ready",
        "127.0.0.1:8082/health/ready",
        "asks elsewhere",
    ),
    (
        compose.ports,
        YAML,
        "127.0.0.1:8083/health/ready",
        "127.0.0.1:8083/",
        "asks elsewhere",
    ),
    (compose.addresses, YAML, "@postgres:5432", "@database:5432", "leads nowhere"),
    (compose.addresses, YAML, "@postgres:5432", "@postgres:15432", "leads nowhere"),
    (compose.addresses, YAML, "http://simulator:8085", "http://localhost:8085", "itself"),
    (
        compose.addresses,
        YAML,
        "simulator: {condition",
        "order: {condition",
        "not waited for",
    ),
]


def broken(part: str, old: str, new: str) -> Papers:
    """Return the papers with ``old`` made ``new`` in one of them."""
    text = str(getattr(papers(), part))
    assert old in text, f"{old} is not there to be broken"
    text = text.replace(old, new)
    changed = replace(papers(), **{part: text})
    return replace(changed, compose=yaml.safe_load(text)) if part == YAML else changed


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_compose_files_match_the_code(check: Check) -> None:
    """Docker starts what the code describes."""
    assert list(check(papers())) == []


@pytest.mark.parametrize(("check", "part", "old", "new", "found"), BROKEN)
def test_compose_check_finds_what_differs(
    check: Check, part: str, old: str, new: str, found: str
) -> None:
    """A check that finds nothing in a broken copy would guard nothing."""
    assert any(found in one for one in check(broken(part, old, new)))


def test_compose_checks_all_fire() -> None:
    """A check that finds nothing in any broken copy could be empty."""
    assert {check for check, *_ in BROKEN} == set(CHECKS)


def test_secrets_are_ignored_by_git() -> None:
    """A filled-in .env would be committed by the next `git add`."""
    assert ".env" in (compose.ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
