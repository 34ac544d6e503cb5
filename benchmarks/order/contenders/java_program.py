"""A contender in Java: its jars, its sources compiled, and the process that replaces ours.

Jars come from Maven Central like the broker's, and so does a compiler (Eclipse's, which needs no
JDK).
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from pathlib import Path

from benchmarks.order.contenders.task import Task
from izin.consent import LAW_VERSION
from izin.local.errors import LocalError
from izin.local.java import FileSet, Progress, fetch, java_at_least, silent
from izin.local.reservations import cache_folder
from izin.schemas import contracts

AVRO = "org.apache.avro:avro:1.12.0"
LOGGING = "org.slf4j:slf4j-simple:1.7.36"
"""What both contenders read events with, and write warnings with."""

_JAVA = 17
DIGESTS = Path(__file__).with_name("jars.sha256")
COMPILER = FileSet(
    name="ecj-3.38.0",
    coordinates=("org.eclipse.jdt:ecj:3.38.0",),
    transitive=False,
    digests=DIGESTS,
)
_RULE = "LatestWinsRule"
_COMPILE_WITHIN = 120.0


class NotCompiledError(LocalError):
    """The Java source cannot be compiled on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JavaProgram:
    """The program ``name``, a class in the folder ``java``, beside the rule that it applies."""

    name: str
    jars: FileSet
    options: tuple[str, ...]
    """Of the Java machine."""

    def prepare(self, on_progress: Progress = silent, *, cache: Path | None = None) -> str:
        """Download the jars, compile the sources, and return the class path.

        Raises DigestError, DownloadError, JavaMissingError, PackageMissingError,
        NotCompiledError.
        """
        cache = cache or cache_folder()
        jars = [str(path) for path in fetch(self.jars, on_progress=on_progress, cache=cache)]
        compiler = [str(path) for path in fetch(COMPILER, on_progress=on_progress, cache=cache)]
        folder = resources.files("benchmarks.order.contenders") / "java"
        sources = [folder / f"{name}.java" for name in (_RULE, self.name)]
        digest = sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
        classes = cache / f"{self.jars.name}-{digest}"
        if not (classes / f"{self.name}.class").exists():
            with resources.as_file(folder) as path:
                paths = [path / f"{name}.java" for name in (_RULE, self.name)]
                compile_sources(paths, classes, jars=jars, compiler=compiler)
        return os.pathsep.join([str(classes), *jars])

    def replace_process(self, task: Task, class_path: str, *words: str) -> None:
        """Replace this process with the program, which gets topics, schemas and ``words``."""
        folder = Path(task.folder)
        files = []
        for record in ("ConsentEvent", "Consent"):
            files.append(folder / f"{record}.avsc")
            files[-1].write_text(json.dumps(contracts.current()[record].schema), encoding="utf-8")
        header = "c301" + contracts.current()["Consent"].fingerprint.hex()
        common = (task.events, task.output, *map(str, files), header, str(LAW_VERSION))
        java = str(java_at_least(_JAVA))
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        os.execv(  # noqa: S606 - replaced by it
            java, [java, *self.options, quiet, "-cp", class_path, self.name, *common, *words]
        )


def write_properties(path: Path, settings: Mapping[str, object]) -> str:
    """Write ``settings`` as a properties file, and return its path."""
    lines = (f"{name}={value}\n" for name, value in settings.items())
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def compile_sources(
    sources: Sequence[Path], classes: Path, *, jars: Sequence[str], compiler: Sequence[str]
) -> None:
    """Compile ``sources`` into ``classes``; raises NotCompiledError, JavaMissingError."""
    java = str(java_at_least(_JAVA))
    argv = (java, "-cp", os.pathsep.join(compiler), "org.eclipse.jdt.internal.compiler.batch.Main")
    options = (f"-{_JAVA}", "-nowarn", "-cp", os.pathsep.join(jars), "-d", str(classes))
    try:
        done = subprocess.run(  # noqa: S603 - what was resolved above
            (*argv, *options, *map(str, sources)),
            capture_output=True,
            text=True,
            timeout=_COMPILE_WITHIN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotCompiledError(f"the compiler did not end: {error}") from error
    if done.returncode != 0:
        names = ", ".join(source.name for source in sources)
        raise NotCompiledError(f"{names} does not compile: {done.stderr.strip()[-2000:]}")
