"""The manifests of Kubernetes match the code, and the fields that the API has: without a cluster.

What `kubectl kustomize` makes of them is compared where it is installed.
"""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from izin.runtime.setting_rules.group import SUFFIX
from tests.support.deploy.kubernetes_fields import FIELDS
from tests.support.deploy.kustomize import Document, UnknownFieldError, built, containers, documents
from tests.support.deploy.processes import (
    ENDS_WITHIN,
    LISTENERS,
    listening,
    refusal,
    secrets_of,
    unreadable,
)
from tests.support.project_rules import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
INSTALLATION, DOCTOR = "example", "example/doctor"
_RUN = "/run/secrets/izin/"
_MARGIN = 3.0
"""Seconds beyond what a process takes to end."""
_WORKLOADS = ("Deployment", "StatefulSet", "Job")
_POD = {
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""What every pod and container must have, as it stands here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A Deployment, StatefulSet or Job, with the ConfigMaps beside it."""

    document: Document
    config: Mapping[str, Mapping[str, str]]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.document["metadata"]["name"])

    @property
    def pod(self) -> Document:
        """The specification of its pods."""
        return dict(self.document["spec"]["template"]["spec"])

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of its pods."""
        return dict(self.document["spec"]["template"]["metadata"]["labels"])

    @property
    def container(self) -> Document:
        """Its one container."""
        (found,) = self.pod["containers"]
        return dict(found)

    @property
    def command(self) -> str:
        """The command that it runs."""
        return str(self.container["args"][0])

    @property
    def own(self) -> dict[str, str]:
        """The variables of its own; what Kubernetes fills in is the name of its first pod."""
        return {
            one["name"]: one.get("value", f"{self.name}-0") for one in self.container.get("env", ())
        }

    @property
    def environment(self) -> dict[str, str]:
        """All of its variables."""
        maps = [one["configMapRef"]["name"] for one in self.container.get("envFrom", ())]
        common = {name: value for one in maps for name, value in self.config[one].items()}
        return {**common, **self.own}

    @property
    def mounted(self) -> dict[str, tuple[str, str, str]]:
        """What of each path is mounted: the kind, the name and the key of a ConfigMap or Secret."""
        volumes = {one["name"]: one for one in self.pod["volumes"]}
        found = {}
        for mount in self.container["volumeMounts"]:
            volume, path = volumes.get(mount["name"], {}), mount["mountPath"]
            for source in volume.get("projected", {}).get("sources", ()):
                for item in source["secret"]["items"]:
                    place = "Secret", source["secret"]["name"], item["key"]
                    found[f"{path}/{item['path']}"] = place
            if "configMap" in volume:
                name = volume["configMap"]["name"]
                for key in self.config.get(name, {}):
                    found[f"{path}/{key}"] = "ConfigMap", name, key
        return found


@dataclass(frozen=True, kw_only=True)
class Manifests:
    """The files of deploy/kubernetes, by their path in it."""

    texts: Mapping[str, str]

    @cached_property
    def installation(self) -> list[Document]:
        """The documents of the example of an installation, with those of its doctor."""
        return built(self.texts, INSTALLATION) + [
            one for one in built(self.texts, DOCTOR) if one["kind"] == "Job"
        ]

    def of(self, *kinds: str) -> list[Document]:
        """Return the documents of these kinds."""
        return [one for one in self.installation if one["kind"] in kinds]

    def data(self, kind: str) -> dict[str, dict[str, str]]:
        """Return the ConfigMaps or Secrets, by their names."""
        return {one["metadata"]["name"]: one["data"] for one in self.of(kind)}

    @property
    def workloads(self) -> list[Workload]:
        """Everything that runs."""
        config = self.data("ConfigMap")
        return [Workload(document=one, config=config) for one in self.of(*_WORKLOADS)]

    @property
    def processes(self) -> list[Workload]:
        """The processes of izin."""
        return [one for one in self.workloads if one.command in LISTENERS]


def manifests() -> Manifests:
    """Return the files as they are."""
    paths = [one for one in FOLDER.rglob("*") if one.suffix in {".yaml", ".env"}]
    return Manifests(
        texts={str(one.relative_to(FOLDER)): one.read_text(encoding="utf-8") for one in paths}
    )


def fields(given: Manifests) -> Iterator[str]:
    """Look for what the API does not have, and for files that no kustomization names."""
    for one in given.installation:
        if one["kind"] in {"ConfigMap", "Secret"}:
            continue
        name = f"{one['kind']} {one['metadata']['name']}"
        schema = FIELDS.get((one["apiVersion"], one["kind"]))
        if schema is None:
            yield f"{name}: {one['apiVersion']} has no such kind"
            continue
        for error in jsonschema_rs.validator_for(schema).iter_errors(one):
            yield f"{name}: {' '.join(map(str, error.instance_path))}: {error.message}"
    kustomizations = {path for path in given.texts if path.endswith("kustomization.yaml")}
    named = " ".join(given.texts[path] for path in kustomizations)
    for path in given.texts.keys() - kustomizations:
        if Path(path).name not in named:
            yield f"{path}: no kustomization has it"


def commands(given: Manifests) -> Iterator[str]:
    """Look for processes that do not run, or twice, and for commands that izin does not have."""
    found = [one.command for one in given.processes]
    for command in LISTENERS:
        if found.count(command) != 1:
            yield f"{command}: {found.count(command)} workloads run it"
    for one in given.workloads:
        if refused := refusal(["izin", *one.container["args"]], one.environment):
            yield f"{one.name}: {refused}"


def variables(given: Manifests) -> Iterator[str]:
    """Look for variables that a process does not read, or whose value it refuses."""
    for one in given.workloads:
        yield from (what for what in unreadable(one.command, one.own) if "nobody reads" in what)
        wrong = unreadable(one.command, one.environment)
        yield from (what for what in wrong if "nobody reads" not in what)
    for name, values in given.data("ConfigMap").items():
        for variable in values if name == "izin-settings" else {}:
            readers = (unreadable(one.command, {variable: ""}) for one in given.workloads)
            if all(any("nobody reads" in what for what in found) for found in readers):
                yield f"{name}: nobody reads {variable}"


def secrets(given: Manifests) -> Iterator[str]:
    """Look for secrets outside of files, for files that are missing, and for what nobody reads."""
    used = set[tuple[str, str, str]]()
    for one in given.workloads:
        yield from _files_of(one)
        mounted = one.mounted
        paths = set(one.environment.values())
        for path, place in mounted.items():
            if path.startswith(_RUN) and path not in paths:
                yield f"{one.name}: nobody reads {path}"
            if one.document["spec"].get("replicas") == 0:
                continue
            used.add(place)
            if place[2] not in given.data(place[0]).get(place[1], ()):
                yield f"{one.name}: {place[1]} has no {place[2]}"
    for name, data in given.data("Secret").items():
        for key in data:
            if ("Secret", name, key) not in used:
                yield f"{name}: nobody has its {key}"


def _files_of(one: Workload) -> Iterator[str]:
    mounted, secret = one.mounted, secrets_of(one.command)
    for name, value in one.environment.items():
        is_file = name.removesuffix(SUFFIX) in secret or value.endswith(".pem")
        if name in secret:
            yield f"{one.name}: {name} is in the environment"
        elif is_file and value not in mounted:
            yield f"{one.name}: {name} names {value}, which is not mounted"


def ports(given: Manifests) -> Iterator[str]:
    """Look for ports on which nobody listens, and for those that are open to too many."""
    listens = {one.command: listening(one.command, one.environment) for one in given.processes}
    for one in given.processes:
        declared = {port["name"]: port["containerPort"] for port in one.container["ports"]}
        listened = listens[one.command]
        if declared != {name: port for name, (_, port) in listened.items()}:
            yield f"{one.name}: its ports are not those where it listens"
        yield from (
            f"{one.name}: its {name} port is open to itself alone"
            for name, (host, _) in listened.items()
            if host != "0.0.0.0"
        )
    served = dict[str, int]()
    for service in given.of("Service"):
        name, spec = service["metadata"]["name"], service["spec"]
        (port,) = spec["ports"]
        for one in given.processes:
            if spec["selector"].items() <= one.labels.items():
                served[one.command] = listens[one.command][port["targetPort"]][1]
        if served.get(name.removeprefix("izin-")) != port["port"]:
            yield f"service {name}: it leads to another process, or port"
    (policy,) = given.of("NetworkPolicy")
    public, operators = policy["spec"]["ingress"]
    if {one["port"] for one in public["ports"]} != {
        port for command, port in served.items() if command != "order"
    }:
        yield "the network is not open to the services alone"
    if "from" in public or not operators["from"]:
        yield "operations are open to everybody"
    if {one["port"] for one in operators["ports"]} != {"operations", served["order"]}:
        yield "metrics are not open to operators alone"


def probes(given: Manifests) -> Iterator[str]:
    """Look for probes that would restart who waits, or send requests to who is not ready."""
    for one in given.processes:
        for probe, path in (
            ("startupProbe", "/health/live"),
            ("livenessProbe", "/health/live"),
            ("readinessProbe", "/health/ready"),
        ):
            if one.container[probe]["httpGet"] != {"path": path, "port": "http"}:
                yield f"{one.name}: its {probe} asks elsewhere"
        live, start = one.container["livenessProbe"], one.container["startupProbe"]
        if live["periodSeconds"] * live["failureThreshold"] < 60:
            yield f"{one.name}: it is restarted before its own watchdog ends it"
        if start["periodSeconds"] * start["failureThreshold"] < 300:
            yield f"{one.name}: it is restarted while it starts"


def hardened(given: Manifests) -> Iterator[str]:
    """Look for rights that no process needs, and for images that change by themselves."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for one in given.workloads:
        for name, value in _POD.items():
            if one.pod.get(name) != value:
                yield f"{one.name}: {name} is not {value}"
        if one.container.get("securityContext") != _CONTAINER:
            yield f"{one.name}: its container may do more than it needs"
        if "memory" not in one.container["resources"]["limits"]:
            yield f"{one.name}: it may take all memory of its node"
        if "cpu" in one.container["resources"]["limits"]:
            yield f"{one.name}: it is throttled"
        if one.container["image"].rpartition(":")[2] != project["version"]:
            yield f"{one.name}: its image is not of {project['version']}"
    (pod,) = documents(given.texts["base/pod.yaml"])
    if containers(pod)[0]["image"] != f"izin:{project['version']}":
        yield f"base: its image is not of {project['version']}"


def ends(given: Manifests) -> Iterator[str]:
    """Look for processes that would be killed while they end."""
    for one in given.processes:
        hook = one.container.get("lifecycle", {}).get("preStop", {}).get("exec", {})
        before = float(hook.get("command", ["", 0])[1])
        least = ENDS_WITHIN[one.command] + before + _MARGIN
        if one.pod["terminationGracePeriodSeconds"] < least:
            yield f"{one.name}: it needs {least} s to end"


def disruption(given: Manifests) -> Iterator[str]:
    """Look for processes that nodes could lose all at once, and selectors that match others."""
    budgets = {one["metadata"]["name"]: one["spec"] for one in given.of("PodDisruptionBudget")}
    for one in given.processes:
        spec, budget = one.document["spec"], budgets.pop(one.name, None)
        if not spec["selector"]["matchLabels"].items() <= one.labels.items():
            yield f"{one.name}: it selects other pods than its own"
        if budget is None or budget["selector"] != spec["selector"]:
            yield f"{one.name}: it has no disruption budget"
        elif budget["maxUnavailable"] != 1:
            yield f"{one.name}: a drained node may take all of them"
        if spec["replicas"] == 1:
            yield f"{one.name}: one alone is away during each update"
    yield from (f"budget {name}: of nobody" for name in budgets)
    names = [one.labels.get("app.kubernetes.io/name") for one in given.workloads]
    yield from (f"label {name} twice" for name in {*names} if names.count(name) > 1)


def state(given: Manifests) -> Iterator[str]:
    """Look for order workers that would share a name or a state."""
    (one,) = [process for process in given.processes if process.command == "order"]
    if one.document["kind"] != "StatefulSet":
        yield "order: its pods have no names of their own"
        return
    named = {
        variable["name"]: variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        for variable in one.container["env"]
    }
    if named.get("IZIN_INSTANCE_ID") != "metadata.name":
        yield "order: its instances are not named after their pods"
    (claim,) = one.document["spec"]["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in one.container["volumeMounts"]}
    if mounts.get(claim["metadata"]["name"]) != one.environment["IZIN_STATE_FOLDER"]:
        yield "order: its state is not on the volume"
    if claim["spec"]["accessModes"] != ["ReadWriteOncePod"]:
        yield "order: two pods may have one volume"
    if one.document["spec"]["replicas"] > int(one.environment["IZIN_PARTITIONS"]):
        yield "order: more workers than partitions"


Check = Callable[[Manifests], Iterator[str]]
CHECKS: tuple[Check, ...] = (
    *(fields, commands, variables, secrets, ports, probes, hardened, ends, disruption, state),
)
_GATE = "selector: {app.kubernetes.io/name: izin-gate}"
_ORDER, _POD_FILE, _SINK = "base/order.yaml", "base/pod.yaml", "base/sink.yaml"
_SETTINGS, _NAMES = "example/settings/settings.env", "example/settings/kustomization.yaml"
BROKEN = [
    (fields, _ORDER, "podManagementPolicy", "podManagmentPolicy", "podManagmentPolicy"),
    (fields, _ORDER, "Parallel", "AllAtOnce", "AllAtOnce"),
    (fields, _POD_FILE, "readOnly: true", 'readOnly: "yes"', "readOnly"),
    (fields, _POD_FILE, "timeoutSeconds", "timeout", "timeout"),
    (fields, _SINK, "policy/v1", "policy/v1beta1", "has no such kind"),
    (fields, _SINK, "maxSurge: 1", "maxSurge: [1]", "maxSurge"),
    (fields, "base/kustomization.yaml", "  - api.yaml\n", "", "base/api.yaml: no kustomization"),
    (commands, "base/kustomization.yaml", "  - api.yaml\n", "", "api: 0 workloads"),
    (commands, "base/feeds.yaml", "args: [feeds]", "args: [gate]", "gate: 2 workloads"),
    (commands, "base/feeds.yaml", "args: [feeds]", "args: [feeds, --fast]", "--fast"),
    (commands, "example/doctor/job.yaml", "--fix", "--mend", "--mend"),
    (variables, _ORDER, "IZIN_STATE,", "IZIN_STAT,", "nobody reads IZIN_STAT"),
    (variables, _ORDER, "value: rocksdb", "value: rocks", "IZIN_STATE"),
    (variables, _SETTINGS, "SASL_SSL", "PLAINTEXT", "KAFKA"),
    (variables, _SETTINGS, "IYS_EGRESS_ADDRESS", "IYS_ADDRESS", "nobody reads IYS_ADDRESS"),
    (secrets, _SINK, "DATABASE_URL_FILE", "DATABASE_URL", "is in the environment"),
    (secrets, _SINK, "path: database-url", "path: database", "which is not mounted"),
    (secrets, _NAMES, "authorities/kafka-ca.pem, ", "", "kafka-ca.pem, which is not mounted"),
    (secrets, _NAMES, "sink/push-password", "sink/push", "izin-sink has no push-password"),
    (secrets, _NAMES, "[secrets/gate/", "[secrets/gate/more, secrets/gate/", "has its more"),
    (
        secrets,
        _SINK,
        "value: /run/secrets/izin/iys",
        "value: /run/secrets/izin/push",
        "nobody reads",
    ),
    (ports, "base/gate.yaml", "containerPort: 8087", "containerPort: 8088", "izin-gate: its ports"),
    (
        ports,
        "base/gate.yaml",
        "TE_HOST, value: 0.0.0.0",
        "TE_HOST, value: 127.0.0.1",
        "itself",
    ),
    (ports, "base/gate.yaml", "port: 8087, t", "port: 80, t", "service izin-gate"),
    (
        ports,
        "base/gate.yaml",
        _GATE,
        _GATE.replace("gate", "api"),
        "service izin-gate",
    ),
    (ports, "base/network.yaml", "        - {port: 8081}\n", "", "to the services alone"),
    (ports, "base/network.yaml", "- {port: 8083}", "- {port: 8082}", "to operators alone"),
    (probes, _POD_FILE, "/health/ready", "/health/live", "readinessProbe asks elsewhere"),
    (probes, _POD_FILE, "/health/live", "/health/ready", "livenessProbe asks elsewhere"),
    (probes, _POD_FILE, "failureThreshold: 6\n", "failureThreshold: 1\n", "its own watchdog"),
    (probes, _POD_FILE, "failureThreshold: 60", "failureThreshold: 6", "while it starts"),
    (hardened, _POD_FILE, "enableServiceLinks: false", "enableServiceLinks: true", "ServiceLinks"),
    (hardened, _POD_FILE, "runAsNonRoot: true", "runAsNonRoot: false", "securityContext is not"),
    (hardened, _POD_FILE, "drop: [ALL]", "drop: []", "more than it needs"),
    (hardened, "example/kustomization.yaml", "0.2.0", "latest", "its image is not"),
    (hardened, _POD_FILE, "izin:0.2.0", "izin:0.0.9", "base: its image is not"),
    (hardened, "base/api.yaml", "limits: {memory: 1Gi}", "limits: {}", "all memory"),
    (hardened, "base/api.yaml", "limits: {", 'limits: {cpu: "1", ', "throttled"),
    (
        ends,
        "base/intake.yaml",
        "Seconds: 45",
        "Seconds: 30",
        "izin-intake: it needs 38",
    ),
    (disruption, "base/feeds.yaml", "maxUnavailable: 1\n", "maxUnavailable: 2\n", "drained node"),
    (disruption, "base/feeds.yaml", "kind: PodDisruptionBudget", "kind: Pod", "no disruption"),
    (disruption, "base/feeds.yaml", "replicas: 2", "replicas: 1", "one alone"),
    (
        disruption,
        "base/feeds.yaml",
        "labels: {app.kubernetes.io/name: izin-f",
        "labels: {app: izin-f",
        "other",
    ),
    (state, _ORDER, "kind: StatefulSet", "kind: Deployment", "no names of their own"),
    (state, _ORDER, "fieldPath: metadata.name", "fieldPath: metadata.namespace", "named after"),
    (state, _ORDER, "mountPath: /var/lib/izin", "mountPath: /var/lib", "not on the volume"),
    (state, _ORDER, "ReadWriteOncePod", "ReadWriteMany", "two pods"),
    (state, _ORDER, "replicas: 3", "replicas: 49", "more workers"),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_manifests_match_the_code(check: Check) -> None:
    """Kubernetes starts what the code describes."""
    assert list(check(manifests())) == []


@pytest.mark.parametrize(("check", "path", "old", "new", "found"), BROKEN)
def test_broken_manifest_is_found(check: Check, path: str, old: str, new: str, found: str) -> None:
    """A check that finds nothing in a broken copy would guard nothing."""
    given = manifests()
    assert old in given.texts[path]
    broken = Manifests(texts={**given.texts, path: given.texts[path].replace(old, new)})
    assert any(found in one for one in check(broken))


def test_checks_of_manifests_all_fire() -> None:
    """A check that finds nothing in any broken copy could be empty."""
    assert {check for check, *_ in BROKEN} == set(CHECKS)


def test_kustomization_with_an_unknown_field_is_refused() -> None:
    """What is not known here would be left out of every check."""
    given = manifests()
    path = "example/kustomization.yaml"
    broken = {**given.texts, path: f"{given.texts[path]}commonLabels: {{a: b}}\n"}
    with pytest.raises(UnknownFieldError, match="commonLabels"):
        built(broken, INSTALLATION)


def in_one_order(value: Any) -> Any:  # noqa: ANN401  # any value of YAML
    """Return ``value`` with its lists sorted: a merge keeps no order that matters here."""
    if isinstance(value, dict):
        return {name: in_one_order(one) for name, one in value.items()}
    if isinstance(value, list):
        return sorted((in_one_order(one) for one in value), key=partial(json.dumps, sort_keys=True))
    return value


def of_names(found: list[Document]) -> dict[tuple[str, str], Any]:
    """Return documents by kind and name; of a Secret its keys, for only they are known here."""
    return {
        (one["kind"], one["metadata"]["name"]): sorted(one["data"])
        if one["kind"] in {"Secret", "ConfigMap"}
        else in_one_order(one)
        for one in found
    }


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("folder", [INSTALLATION, DOCTOR])
def test_kubectl_makes_the_same_documents(tmp_path: Path, folder: str) -> None:
    """The checks look at what Kubernetes would get, with a secret and an authority in each file."""
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    settings = tmp_path / "example" / "settings"
    for path in re.findall(r"(?:secrets|authorities)/[\w./-]+", manifests().texts[_NAMES]):
        (settings / path).parent.mkdir(parents=True, exist_ok=True)
        (settings / path).write_text("sample", encoding="utf-8")
    made = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path / folder)], capture_output=True, text=True, check=True
    ).stdout
    ours = built(manifests().texts, folder)
    for name in (one["metadata"]["name"] for one in ours if one["kind"] in {"Secret", "ConfigMap"}):
        made = re.sub(rf"\b{name}-[0-9a-z]{{10}}\b", name, made)
    assert of_names(list(yaml.safe_load_all(made))) == of_names(ours)
