"""The benchmark ``light-install``: what the libraries bring into an environment of another team.

Compared with what every installation brought before there were extras: all processes, the whole
``phonenumbers`` and Confluent's client of the schema registry. Both are installed from the same
wheel, each first once so that pip has everything in its cache; a download is the network's speed.
The libraries are also installed as the pages say, from the checkout: that builds the wheel, too.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from rich.table import Table

from benchmarks.order.timer import printed_by
from benchmarks.results import RunReport, progress
from tools.pins import versions

MODULE = "izin.producers"
CHECKOUT = Path(__file__).resolve().parents[1]
"""Also where a link leads to this file."""
LIGHT, WHOLE = "izin", "everything, as before the extras"
FROM_CHECKOUT = "izin, built from the checkout"

_SOURCES = ("izin", "pyproject.toml", "setup.py", "build_backend.py", "README.md", "LICENSE")
SOURCE = "source"
"""The folder of the copy from which wheels are built."""
_MB = 1024 * 1024
_WITHIN = 900
_IMPORTS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSize:
    """What an installation brings: packages, megabytes, and the seconds that it takes."""

    name: str
    packages: int
    megabytes: float
    seconds: float


def light_install() -> RunReport:
    """Install the libraries into a fresh environment, and everything into another one."""
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        progress().status("building the wheel") as status,
    ):
        wheel = build_wheel(Path(folder))
        found, imported = [], 0.0
        for name, requirements in (
            (FROM_CHECKOUT, (str(Path(folder) / SOURCE),)),
            (LIGHT, (str(wheel),)),
            (
                WHOLE,
                (
                    f"{wheel}[server]",
                    "phonenumbers==9.0.43",
                    "confluent-kafka[avro,schemaregistry]",
                ),
            ),
        ):
            for attempt in ("fetching", "installing"):
                status.update(f"{attempt} {name}")
                size = install(name, requirements, Path(folder) / "environment")
            found.append(size)
            if name == LIGHT:
                python = str(Path(folder) / "environment" / "bin" / "python")
                imported = median(import_seconds(python, MODULE) for _ in range(_IMPORTS))
    built, light, whole = found
    shares = {
        "packages": light.packages / whole.packages,
        "MB": light.megabytes / whole.megabytes,
        "seconds": light.seconds / whole.seconds,
    }
    table = Table(title="A fresh environment, from pip's cache")
    table.add_column("installation")
    for heading in ("packages", "MB", "seconds"):
        table.add_column(heading, justify="right")
    for one in found:
        table.add_row(one.name, str(one.packages), f"{one.megabytes:.0f}", f"{one.seconds:.1f}")
    table.add_row("share", *(f"{share:.0%}" for share in shares.values()))
    return RunReport(
        tables=[table, f"import of {MODULE}: {imported:.3f} s, median of {_IMPORTS}"],
        data={
            "installations": [asdict(one) for one in found],
            "shares": shares,
            "import_seconds": imported,
        },
        figures={
            "light-install": 100 * max(shares.values()),
            "light-install-seconds": built.seconds,
            "light-import": imported,
        },
    )


def build_wheel(folder: Path) -> Path:
    """Build a wheel of the checkout under ``folder``; return its file. Raises TrialError."""
    source, built = folder / SOURCE, folder / "built"
    source.mkdir()
    for name in _SOURCES:
        copy = shutil.copytree if (CHECKOUT / name).is_dir() else shutil.copy
        copy(CHECKOUT / name, source / name)
    _pip("wheel", "--quiet", "--no-deps", "--wheel-dir", str(built), str(source))
    (wheel,) = built.glob("*.whl")
    return wheel


def install(name: str, requirements: Sequence[str], home: Path) -> InstallSize:
    """Install ``requirements`` into a fresh environment in ``home``; raises TrialError."""
    shutil.rmtree(home, ignore_errors=True)
    _run(sys.executable, "-m", "venv", "--without-pip", str(home))
    python = str(home / "bin" / "python")
    constraints = home / "versions.txt"  # a wheel of ours has no hash, so its packages need none
    constraints.write_text(versions(), encoding="utf-8")
    began = perf_counter()
    _pip("--python", python, "install", "--quiet", "-c", str(constraints), *requirements)
    seconds = perf_counter() - began
    (packages,) = (home / "lib").glob("python*/site-packages")
    files = [one for one in packages.rglob("*") if one.is_file()]
    return InstallSize(
        name=name,
        packages=len([*packages.glob("*.dist-info")]),
        megabytes=sum(one.stat().st_size for one in files) / _MB,
        seconds=seconds,
    )


def import_seconds(python: str, module: str) -> float:
    """Return the seconds in which a new process of ``python`` imports ``module``."""
    timed = ("import time", "at = time.perf_counter()", f"import {module}")
    return float(_run(python, "-c", "; ".join((*timed, "print(time.perf_counter() - at)"))))


def _pip(*arguments: str) -> None:
    _run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments)


def _run(*command: str) -> str:
    return printed_by(command, within=_WITHIN)
