"""What is installed is what the pins name, each by the hashes of its files, and from no named host.

The digests of jars, and the list of components.
"""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from sysconfig import get_path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from izin.local import java
from izin.local.java import FileSet, Progress
from tests.support.project_rules import ROOT
from tools import pins, sbom
from tools.pins import JAR_SETS, record

LISTS = ("constraints.txt", "tools/constraints.txt")
OURS = {"izin", "iys-simulator"}
DIGEST = re.compile(r"[0-9a-f]{64}")
HASH = f"--hash=sha256:{'a' * 64}"
WITH_PYTHON = {"pip"}
"""A virtual environment has it from Python itself."""


def faults(text: str) -> Iterator[str]:
    """Find what a list of pins must not have."""
    for line in text.splitlines():
        if line.startswith("-") or "://" in line:
            yield f"an option or a host: {line}"
            return
    for pin in pins.pins(text):
        if not re.fullmatch(r"==[^,*]+", str(pin.requirement.specifier)):
            yield f"not one version: {pin.requirement}"
        if not pin.hashes or not all(map(DIGEST.fullmatch, pin.hashes)):
            yield f"not by hash: {pin.requirement}"


def differences(pinned: str, installed: dict[str, str]) -> set[str]:
    """Find packages that are installed and not pinned, or the other way round, or differ."""
    wanted = {
        (canonicalize_name(pin.requirement.name), str(pin.requirement.specifier))
        for pin in pins.pins(pinned)
        if pin.requirement.marker is None or pin.requirement.marker.evaluate()
    }
    return {" ".join(one) for one in wanted ^ {(name, f"=={v}") for name, v in installed.items()}}


def unmet(requirements: list[str], pinned: str) -> list[str]:
    """Find requirements that no pin meets."""
    found = {canonicalize_name(pin.requirement.name): pin for pin in pins.pins(pinned)}

    def is_met(wanted: Requirement) -> bool:
        pin = found.get(canonicalize_name(wanted.name))
        return pin is not None and any(
            wanted.specifier.contains(one.version, prereleases=True)
            for one in pin.requirement.specifier
        )

    return [one for one in requirements if not is_met(Requirement(one))]


@pytest.mark.parametrize("name", LISTS)
def test_every_pin_has_hashes_and_names_no_host(name: str) -> None:
    """Of each file of its version: whichever mirror serves it, and for whichever platform."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert list(faults(text)) == []
    assert len(pins.pins(text)) > 10


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"kit==1.0 {HASH}\n", []),
        (f"# why\nkit==1.0 ; python_version < '3.12' \\\n    {HASH} \\\n    {HASH}\n", []),
        ("kit==1.0\n", ["not by hash: kit==1.0"]),
        (f"kit==1.0 \\\n    {HASH}0\n", ["not by hash: kit==1.0"]),
        (f"kit>=1.0 {HASH}\n", ["not one version: kit>=1.0"]),
        (f"kit==1.* {HASH}\n", ["not one version: kit==1.*"]),
        (f"kit {HASH}\n", ["not one version: kit"]),
        (f"--no-index\nkit==1.0 {HASH}\n", ["an option or a host: --no-index"]),
        (
            f"kit @ https://example.com/kit.whl {HASH}\n",
            [f"an option or a host: kit @ https://example.com/kit.whl {HASH}"],
        ),
    ],
)
def test_pin_without_a_hash_or_with_a_host_is_found(text: str, found: list[str]) -> None:
    """A list that pip would take and that would not hold an installation to known files."""
    assert list(faults(text)) == found


def test_installed_packages_are_the_pinned_ones() -> None:
    """Run `make clean`, then `make setup`, where this environment has others."""
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    installed = {
        canonicalize_name(one.name): one.version
        for one in distributions(path=[get_path("purelib")])
    }
    apart = OURS | WITH_PYTHON
    ours = {name: version for name, version in installed.items() if name not in apart}
    assert differences(pinned, ours) == set(), "run: make clean, then make setup"


def test_installed_packages_need_no_other() -> None:
    """Pip installed the list without looking for dependencies: none is missing, none is too old."""
    checked = (sys.executable, "-m", "pip", "check")
    done = subprocess.run(checked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_package_that_is_not_pinned_is_found() -> None:
    """One too many, one too few, and one of another version; markers of others do not count."""
    pinned = f"a==1 {HASH}\nb.b==2 {HASH}\nc==3 ; python_version < '3' {HASH}\n"
    assert differences(pinned, {"a": "1", "b-b": "2"}) == set()
    assert differences(pinned, {"a": "2", "d": "1"}) == {"a ==1", "a ==2", "b-b ==2", "d ==1"}


def test_every_requirement_is_met_by_a_pin() -> None:
    """Of izin, its extras, the simulator and both builds; else: `make pins KEEP=1`."""
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for folder in (ROOT, ROOT / "simulator"):
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        extras = project["project"]["optional-dependencies"].values()
        required = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
        required += [one for extra in extras for one in extra if not one.startswith("izin[")]
        assert unmet(required, pinned) == []


def test_requirement_without_a_pin_is_found() -> None:
    """One that is not pinned, and one whose pin is too old."""
    assert unmet(["kit>=1", "kit>=2", "other"], f"Kit==1.5 {HASH}\n") == ["kit>=2", "other"]


def test_pins_without_hashes_are_the_same_versions() -> None:
    """For pip where it resolves a checkout: a line a pin, with its marker."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert [Requirement(line) for line in pins.versions().splitlines()] == [
        pin.requirement for pin in pins.pins(text)
    ]


def test_every_set_of_jars_is_recorded() -> None:
    """Each with its digests, in the file that it names, and no line is of another set."""
    recorded = {
        (files.digests, line.split("  ")[1].split("/")[0])
        for files in JAR_SETS
        for line in files.digests.read_text(encoding="ascii").splitlines()
        if DIGEST.fullmatch(line.split("  ")[0])
    }
    assert recorded == {(files.digests, files.name) for files in JAR_SETS}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[FileSet, dict[str, bytes]]:
    """Return a set of jars, and what a repository serves for it."""
    files = FileSet(name="kit-1.0", coordinates=(), digests=tmp_path / "jars.sha256")
    content = {"b.jar": b"b", "a.jar": b"a"}

    def download(_files: FileSet, folder: Path, on_progress: Progress) -> list[Path]:
        folder.mkdir()
        on_progress("downloading")
        for name, data in content.items():
            (folder / name).write_bytes(data)
        return [folder / name for name in content]

    monkeypatch.setattr(pins, "download", download)
    return files, content


def test_digests_are_recorded_by_path(served: tuple[FileSet, dict[str, bytes]]) -> None:
    """As `sha256sum` writes them; a set of a newer version replaces the one before."""
    files, content = served
    files.digests.write_text(f"{'0' * 64}  kit-0.9/a.jar\n", encoding="ascii")
    record([files])
    assert files.digests.read_text(encoding="ascii").splitlines() == [
        f"{hashlib.sha256(content[name]).hexdigest()}  kit-1.0/{name}" for name in sorted(content)
    ]


def test_release_that_has_changed_is_not_recorded(
    served: tuple[FileSet, dict[str, bytes]],
) -> None:
    """The same name with another digest: nothing is written."""
    files, content = served
    record([files])
    before = files.digests.read_text(encoding="ascii")
    content["a.jar"] = b"another"
    with pytest.raises(SystemExit, match=r"kit-1\.0/a\.jar: its SHA-256 is .* A release never"):
        record([files])
    assert files.digests.read_text(encoding="ascii") == before


BOM = {
    "bomFormat": "CycloneDX",
    "metadata": {"tools": {"components": [{"name": "t", "externalReferences": [{"url": "x"}]}]}},
    "components": [{"name": "jgo", "externalReferences": [{"url": "https://example.com"}]}],
}


def test_list_of_components_has_the_jars_and_no_references() -> None:
    """Each file once, with its digest; which folder or mirror something came from is left out."""
    lines = [
        f"{'1' * 64}  set-1/com/example/kit/1.0/kit-1.0.jar",
        f"{'1' * 64}  set-2/com/example/kit/1.0/kit-1.0.jar",
        f"{'2' * 64}  set-2/com/example/app/2.0/app-2.0-all.tar.gz",
    ]
    found = sbom.complete(BOM, "\n".join(lines) + "\n")
    assert "externalReferences" not in json.dumps(found)
    assert [one.get("purl") for one in found["components"]] == [
        None,
        "pkg:maven/com.example/app@2.0?classifier=all&type=tar.gz",
        "pkg:maven/com.example/kit@1.0",
    ]
    assert found["components"][1]["hashes"] == [{"alg": "SHA-256", "content": "2" * 64}]
    assert found["components"][1]["group"] == "com.example"
    assert java.FileSet.digests == sbom.JARS
    assert sys.modules.get("cyclonedx") is None


def test_list_of_processes_alone_has_no_jars() -> None:
    """An environment that cannot download them."""
    bom = {**BOM, "components": [{"name": "kit", "externalReferences": []}]}
    found = sbom.complete(bom, f"{'1' * 64}  set-1/com/example/kit/1.0/kit-1.0.jar\n")
    assert found["components"] == [{"name": "kit"}]
