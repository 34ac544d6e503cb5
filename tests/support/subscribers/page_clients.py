"""The clients that a page of the documentation shows, as programs that run."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from benchmarks.order.contenders import java_program, kafka_streams
from izin.local.java import QUICK_START, fetch, java_at_least
from izin.local.reservations import FolderLock, cache_folder

ROOT = Path(__file__).parents[3]
_NODE = Path(__file__).with_name("node")
_BLOCK = re.compile(r"^```(?:python|java|js)\n(?:#|//) (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INSTALLED_WITHIN = 240


def blocks(page: str) -> Mapping[str, str]:
    """Return the code blocks of ``page`` that name a file in their first line, by that name."""
    return dict(_BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8")))


def python_command(file: Path) -> Sequence[str]:
    """Return the command that runs a Python file."""
    return (sys.executable, str(file))


def java_command(file: Path) -> Sequence[str]:
    """Compile a Java file, and return the command that runs its class."""
    jars = [str(path) for path in fetch(kafka_streams.PROGRAM.jars)]
    compiler = [str(path) for path in fetch(java_program.COMPILER)]
    digest = sha256(file.read_bytes()).hexdigest()[:16]
    classes = cache_folder() / f"{file.stem.lower()}-{digest}"
    if not (classes / f"{file.stem}.class").exists():
        java_program.compile_sources([file], classes, jars=jars, compiler=compiler)
    class_path = os.pathsep.join([str(classes), *jars])
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return (str(java_at_least(17)), *QUICK_START, "-Xmx256m", quiet, "-cp", class_path, file.stem)


def node_command(file: Path) -> Sequence[str]:
    """Return the command that runs a JavaScript file; skip the test where there is no Node."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not on the PATH: the Node client of the page is not run")
    (file.parent / "node_modules").symlink_to(_packages(npm))
    return (node, str(file))


def _packages(npm: str) -> Path:
    """Return the folder of the pinned packages, installed once."""
    lock = _NODE / "package-lock.json"
    folder = cache_folder() / f"node-{sha256(lock.read_bytes()).hexdigest()[:16]}"
    with FolderLock(folder.with_suffix(".lock"), within=timedelta(minutes=5)):
        if not (folder / ".complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(_NODE, folder)
            subprocess.run(
                (npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"),
                cwd=folder,
                check=True,
                timeout=_INSTALLED_WITHIN,
            )
            (folder / ".complete").touch()
    return folder / "node_modules"


class RunningClient(AbstractContextManager["RunningClient"]):
    """A client in a process of its own, whose output is read from a file; a context manager."""

    def __init__(self, command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
        self._output = folder / "output"
        self._errors = folder / "errors"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **environ},
                stdout=output,
                stderr=errors,
            )

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def has_ended(self) -> bool:
        """Return whether it ended by itself."""
        return self._process.poll() is not None

    def errors(self) -> str:
        """Return what it has written to standard error."""
        return self._errors.read_text(encoding="utf-8")

    def lines(self) -> list[str]:
        """Return what it has printed about keys; fail where it ended by itself."""
        assert self._process.poll() in {None, 0}, self.errors()[-2000:]
        text = self._output.read_text(encoding="utf-8")
        return [one for one in text.splitlines() if not one.startswith("{")]
