"""Check the ports and addresses of docker-compose.yml against the listening services."""

import os
import re
from collections.abc import Iterator
from unittest.mock import patch

from izin.demo.stack_settings import PORTS
from izin.runtime import settings
from tests.contract.compose import Papers, argvs, image_of, is_ours, leaf, read

_LISTENERS = {
    "order": settings.StreamSettings,
    "sink": settings.SinkSettings,
    "intake": settings.IntakeSettings,
    "feeds": settings.FeedsSettings,
    "gate": settings.GateSettings,
    "webhooks": settings.WebhookSettings,
}
_ADDRESS = re.compile(r"(?:^|//|@)([a-z][\w-]*):(\d+)")
_PROBE = re.compile(r'urlopen\("http://127\.0\.0\.1:(\d+)(/[\w/]+)"\)')


def listening(given: Papers, name: str) -> set[int]:
    """Return the ports on which the service answers other containers."""
    service, environment = given.services[name], given.environment(name)
    if not is_ours(service):
        return {
            "apache/kafka": {
                int(port) for port in re.findall(r":(\d+)", environment.get("KAFKA_LISTENERS", ""))
            },
            "postgres": {5432},
            "apicurio/apicurio-registry": {int(environment.get("QUARKUS_HTTP_PORT", 8080))},
        }[image_of(service)]
    argv = argvs(service)[0]
    if argv[0] == "iys-simulator":
        command, rest = leaf(argv)
        with patch.dict(os.environ, environment, clear=True):
            host, port = map(command.make_context("serve", rest).params.get, ("host", "port"))
    elif argv[1] in _LISTENERS:
        listener = read(_LISTENERS[argv[1]], environment)
        addresses = [(listener.host, listener.port)]
        if hasattr(listener, "operations_port"):
            addresses.append((listener.operations_host, listener.operations_port))
        return {port for host, port in addresses if host == "0.0.0.0"}
    else:
        return set()
    return {port} if host == "0.0.0.0" else set()


def ports(given: Papers) -> Iterator[str]:
    """Every port is published on 127.0.0.1 alone, as `izin up` does, and in use."""
    for name, service in given.services.items():
        listened = listening(given, name)
        for one in service.get("ports", []):
            address, outside, inside = ["", *one.split(":")][-3:]
            if address != "127.0.0.1":
                yield f"{name}: {one} is open to the network"
            if int(inside) not in listened:
                yield f"{name}: nobody listens on {inside}"
            usual = {PORTS.get(f"{name}{part}") for part in ("", "-operations")}
            if int(outside) not in usual:
                yield f"{name}: {outside} is not the port of `izin up`"
        if is_ours(service) and listened:
            probe = _PROBE.search(service["healthcheck"]["test"][-1])
            path = "/__simulator__/health" if name == "simulator" else "/health/ready"
            if probe is None or int(probe[1]) not in listened or probe[2] != path:
                yield f"{name}: the health check asks elsewhere"


def addresses(given: Papers) -> Iterator[str]:
    """Every address names a service that listens there and is waited for."""
    for name, service in given.services.items():
        for variable, value in given.environment(name).items():
            for host, port in _ADDRESS.findall(value):
                if host not in given.services or int(port) not in listening(given, host):
                    yield f"{name}: {variable} leads nowhere: {host}:{port}"
                elif host != name and host not in service.get("depends_on", {}):
                    yield f"{name}: {variable} names {host}, which is not waited for"
            if is_ours(service) and re.search(r"localhost|127\.0\.0\.1", value):
                yield f"{name}: {variable} would find the container itself"
