"""What `kubectl kustomize` makes of the files that we have, for machines without it.

Only what our kustomizations use is known; whatever else stands in one is an error.
"""

import os.path
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]
_KNOWN = {
    *("apiVersion", "kind", "namespace", "resources", "images", "patches"),
    *("configMapGenerator", "secretGenerator"),
}
_KEYS = ("name", "mountPath", "topologyKey", "containerPort")
"""What items of a list are merged by."""


class UnknownFieldError(Exception):
    """A kustomization has what is not known here."""


def built(files: Mapping[str, str], folder: str) -> list[Document]:
    """Return the documents that the kustomization of ``folder`` makes; ``files`` are by path.

    Raises:
        UnknownFieldError: it has a field that is not known here.
        KeyError: it names a file that is not there.
    """
    given = yaml.safe_load(files[f"{folder}/kustomization.yaml"])
    if unknown := given.keys() - _KNOWN:
        raise UnknownFieldError(f"{folder}: {', '.join(sorted(unknown))}")
    found: list[Document] = []
    for name in given.get("resources", ()):
        path = os.path.normpath(f"{folder}/{name}")
        found += documents(files[path]) if path.endswith(".yaml") else built(files, path)
    found += _generated(files, folder, given)
    for patch in given.get("patches", ()):
        (laid,) = documents(files[f"{folder}/{patch['path']}"])
        for one in found:
            if one["kind"] == patch["target"]["kind"]:
                one["spec"] = merged(one["spec"], laid["spec"])
    _rename(found, given)
    return found


def _rename(found: list[Document], given: Document) -> None:
    """Set namespace and images as the kustomization says."""
    images = {one["name"]: f"{one['newName']}:{one['newTag']}" for one in given.get("images", ())}
    for document in found:
        if "namespace" in given:
            document["metadata"]["namespace"] = given["namespace"]
        for one in containers(document):
            one["image"] = images.get(one["image"].partition(":")[0], one["image"])


def documents(text: str) -> list[Document]:
    """Return the documents of a file."""
    return [one for one in yaml.safe_load_all(text) if one is not None]


def containers(document: Document) -> list[Document]:
    """Return the containers of a document, if it has any."""
    spec = document.get("spec", {}).get("template", {}).get("spec", {})
    found: list[Document] = spec.get("containers", [])
    return found


def _generated(files: Mapping[str, str], folder: str, given: Document) -> Iterator[Document]:
    """Yield ConfigMaps with their values, and secrets with their keys."""
    for kind, generator in (("ConfigMap", "configMapGenerator"), ("Secret", "secretGenerator")):
        for one in given.get(generator, ()):
            data = {Path(path).name: "" for path in one.get("files", ())}
            for path in one.get("envs", ()):
                data |= settings_of(files[f"{folder}/{path}"])
            yield {
                "apiVersion": "v1",
                "kind": kind,
                "metadata": {"name": one["name"]},
                "data": data,
            }


def settings_of(text: str) -> dict[str, str]:
    """Return the variables of an environment file."""
    lines = [one for one in text.splitlines() if one and not one.startswith("#")]
    return dict(one.split("=", 1) for one in lines)


def merged(base: Any, patch: Any) -> Any:  # noqa: ANN401  # any value of YAML
    """Return ``base`` with ``patch`` laid over it, as a strategic merge does."""
    if isinstance(base, dict) and isinstance(patch, dict):
        both = {name: merged(base.get(name), value) for name, value in patch.items()}
        return {**base, **both}
    keyed = next((one for one in _KEYS if patch and _has(patch, one)), None)
    if keyed is None or not _has(base, keyed):
        return deepcopy(patch)
    known = {one[keyed]: one for one in base}
    laid = [merged(known.pop(one[keyed], None), one) for one in patch]
    return [*laid, *known.values()]


def _has(items: Any, key: str) -> bool:  # noqa: ANN401  # the same
    return isinstance(items, list) and all(isinstance(one, dict) and key in one for one in items)
