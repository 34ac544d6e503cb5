"""``python -m tools.sbom ENVIRONMENT BOM``: the list of components of ``make sbom``.

``ENVIRONMENT`` is the list of an environment's Python packages that cyclonedx-py wrote. Added are
the jars and archives of the extra ``local``, where jgo is there to download them. Left out are
references to web sites and folders: they differ between machines and mirrors, and each component
has its name, version and package URL (purl). The result is valid by CycloneDX's own schema, and the
same for the same environment.

It runs where cyclonedx-bom is installed, and imports nothing of izin.
"""

import json
import sys
from pathlib import Path
from typing import Any

JARS = Path(__file__).parents[1] / "izin" / "local" / "jars.sha256"
DOWNLOADER = "jgo"


def jar(digest: str, path: str) -> dict[str, Any]:
    """Return the component of a file: ``SET/GROUP…/ARTIFACT/VERSION/ARTIFACT-VERSION….TYPE``."""
    _, *group, artifact, version, name = path.split("/")
    rest = name.removeprefix(f"{artifact}-{version}")
    classifier, _, packaging = rest.removeprefix("-").partition(".")
    words = {"classifier": classifier, "type": packaging if packaging != "jar" else ""}
    qualifiers = "&".join(f"{key}={value}" for key, value in words.items() if value)
    purl = f"pkg:maven/{'.'.join(group)}/{artifact}@{version}"
    if qualifiers:
        purl += f"?{qualifiers}"
    return {
        "type": "library",
        "bom-ref": purl,
        "group": ".".join(group),
        "name": artifact,
        "version": version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def complete(bom: dict[str, Any], digests: str) -> dict[str, Any]:
    """Return ``bom`` without references, and with the files that ``digests`` lists, once each."""
    bare: dict[str, Any] = _without_references(bom)
    if all(one["name"] != DOWNLOADER for one in bare["components"]):
        return bare
    files = (line.split("  ", 1) for line in digests.splitlines())
    jars = {one["purl"]: one for one in (jar(digest, path) for digest, path in files)}
    return {**bare, "components": [*bare["components"], *(jars[purl] for purl in sorted(jars))]}


def _without_references(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        return [_without_references(each) for each in value]
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if key != "externalReferences"}
        return {key: _without_references(each) for key, each in kept.items()}
    return value


def main(environment: str, file: str) -> None:
    """Write the list to ``file``; raise SystemExit, and write nothing, where it is not valid."""
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 - only that environment has it
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415 - the same

    bom = json.loads(Path(environment).read_text(encoding="utf-8"))
    text = json.dumps(complete(bom, JARS.read_text(encoding="ascii")), indent=2) + "\n"
    fault = JsonStrictValidator(SchemaVersion.from_version(bom["specVersion"])).validate_str(text)
    if fault is not None:
        raise SystemExit(f"the list is not valid by CycloneDX's schema: {fault}")
    Path(file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
