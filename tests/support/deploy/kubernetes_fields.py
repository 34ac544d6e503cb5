"""The fields of Kubernetes' API that our manifests use, with their types: any other is an error.

A closed list: the packages that carry the API's schemas are 70 MB, or clients of clusters. Who uses
another field adds it here, as the reference of the API has it.
"""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
NAME: Schema = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
PORT_OR_NAME: Schema = {"anyOf": [PORT, {"type": "string", "pattern": r"^[a-z0-9-]{1,15}$"}]}
QUANTITY: Schema = {"type": "string", "pattern": r"^\d+(\.\d+)?(m|Ki|Mi|Gi|Ti)?$"}
COUNT_OR_SHARE: Schema = {"anyOf": [NUMBER, {"type": "string", "pattern": r"^\d{1,3}%$"}]}
LABELS: Schema = {"type": "object", "additionalProperties": TEXT}


def one_of(*values: str) -> Schema:
    """Return the schema of a text that is one of ``values``."""
    return {"enum": list(values)}


def each(item: Schema) -> Schema:
    """Return the schema of a list of ``item``."""
    return {"type": "array", "items": item}


def having(needed: str = "", /, **properties: Schema) -> Schema:
    """Return the schema of an object with these ``properties`` alone; those ``needed`` must be."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": needed.split(),
    }


_META = having("name", name=NAME, namespace=NAME, labels=LABELS)
_SELECTOR = having("matchLabels", matchLabels=LABELS)
_ITEMS = each(having("key path", key=TEXT, path=TEXT))
_PROBE = having(
    "httpGet",
    httpGet=having("path port", path=TEXT, port=PORT_OR_NAME),
    periodSeconds=PORT,
    timeoutSeconds=PORT,
    failureThreshold=PORT,
)
_CONTAINER = having(
    "name image resources",
    name=NAME,
    image=TEXT,
    args=each(TEXT),
    env=each(
        having(
            "name",
            name=TEXT,
            value=TEXT,
            valueFrom=having("fieldRef", fieldRef=having("fieldPath", fieldPath=TEXT)),
        )
    ),
    envFrom=each(having("configMapRef", configMapRef=having("name", name=NAME))),
    ports=each(having("containerPort", name=NAME, containerPort=PORT)),
    startupProbe=_PROBE,
    livenessProbe=_PROBE,
    readinessProbe=_PROBE,
    lifecycle=having(preStop=having("exec", exec=having("command", command=each(TEXT)))),
    resources=having(
        "requests limits",
        requests=having(cpu=QUANTITY, memory=QUANTITY),
        limits=having(cpu=QUANTITY, memory=QUANTITY),
    ),
    securityContext=having(
        allowPrivilegeEscalation=FLAG,
        readOnlyRootFilesystem=FLAG,
        capabilities=having(drop=each(TEXT)),
    ),
    volumeMounts=each(having("name mountPath", name=NAME, mountPath=TEXT, readOnly=FLAG)),
)
_VOLUME = having(
    "name",
    name=NAME,
    emptyDir=having(sizeLimit=QUANTITY),
    configMap=having("name", name=NAME),
    projected=having(
        "sources",
        defaultMode=NUMBER,
        sources=each(having(secret=having("name", name=NAME, items=_ITEMS))),
    ),
)
_POD = having(
    "containers",
    automountServiceAccountToken=FLAG,
    containers=each(_CONTAINER),
    enableServiceLinks=FLAG,
    restartPolicy=one_of("Always", "OnFailure", "Never"),
    securityContext=having(
        runAsNonRoot=FLAG,
        runAsUser=NUMBER,
        runAsGroup=NUMBER,
        fsGroup=NUMBER,
        seccompProfile=having("type", type=one_of("RuntimeDefault", "Unconfined", "Localhost")),
    ),
    terminationGracePeriodSeconds=NUMBER,
    topologySpreadConstraints=each(
        having(
            "maxSkew topologyKey whenUnsatisfiable",
            maxSkew=PORT,
            topologyKey=TEXT,
            whenUnsatisfiable=one_of("DoNotSchedule", "ScheduleAnyway"),
            labelSelector=_SELECTOR,
            matchLabelKeys=each(TEXT),
        )
    ),
    volumes=each(_VOLUME),
)
_TEMPLATE = having("metadata spec", metadata=having("labels", labels=LABELS), spec=_POD)
_CLAIM = having(
    "metadata spec",
    metadata=having("name", name=NAME),
    spec=having(
        "accessModes resources",
        accessModes=each(
            one_of("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
        ),
        resources=having("requests", requests=having("storage", storage=QUANTITY)),
    ),
)
_KEPT_OR_NOT = one_of("Retain", "Delete")
_WORKLOAD = {
    "replicas": NUMBER,
    "minReadySeconds": NUMBER,
    "selector": _SELECTOR,
    "template": _TEMPLATE,
}
_ROLLING = having(maxSurge=COUNT_OR_SHARE, maxUnavailable=COUNT_OR_SHARE)
_PORTS = each(having("port", port=PORT_OR_NAME))

_SPECS: Mapping[tuple[str, str], Schema] = {
    ("apps/v1", "Deployment"): having(
        "selector template",
        **_WORKLOAD,
        strategy=having(
            rollingUpdate=having(maxSurge=COUNT_OR_SHARE, maxUnavailable=COUNT_OR_SHARE)
        ),
    ),
    ("apps/v1", "StatefulSet"): having(
        "selector template serviceName",
        **_WORKLOAD,
        serviceName=NAME,
        podManagementPolicy=one_of("OrderedReady", "Parallel"),
        persistentVolumeClaimRetentionPolicy=having(
            whenDeleted=_KEPT_OR_NOT, whenScaled=_KEPT_OR_NOT
        ),
        volumeClaimTemplates=each(_CLAIM),
    ),
    ("batch/v1", "Job"): having(
        "template", backoffLimit=NUMBER, activeDeadlineSeconds=NUMBER, template=_TEMPLATE
    ),
    ("v1", "Service"): having(
        "selector ports",
        clusterIP=one_of("None"),
        selector=LABELS,
        ports=each(having("port", name=NAME, port=PORT, targetPort=PORT_OR_NAME)),
    ),
    ("policy/v1", "PodDisruptionBudget"): having(
        "selector", maxUnavailable=COUNT_OR_SHARE, minAvailable=COUNT_OR_SHARE, selector=_SELECTOR
    ),
    ("networking.k8s.io/v1", "NetworkPolicy"): having(
        "podSelector policyTypes",
        podSelector=_SELECTOR,
        policyTypes=each(one_of("Ingress", "Egress")),
        ingress=each(
            {
                **having(ports=_PORTS),
                "properties": {
                    "ports": _PORTS,
                    "from": each(having(namespaceSelector=_SELECTOR)),
                },
            }
        ),
    ),
}
FIELDS: Mapping[tuple[str, str], Schema] = {
    (version, kind): having(
        "apiVersion kind metadata spec",
        apiVersion=one_of(version),
        kind=one_of(kind),
        metadata=_META,
        spec=spec,
    )
    for (version, kind), spec in _SPECS.items()
}
"""The schema of a document, by its version and kind."""
