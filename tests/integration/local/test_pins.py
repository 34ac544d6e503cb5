"""Installations by hash, by the real pip; jars by digest, of the real broker."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from izin.local import DigestError
from izin.local.java import fetch
from izin.local.kafka import BROKER
from izin.local.reservations import cache_folder
from tools.pins import CONSTRAINTS, pins

SMALL = ("iniconfig", "six")


def install(home: Path, listed: Path) -> subprocess.CompletedProcess[str]:
    """Install what ``listed`` names into a fresh environment, as `make setup` does."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    pip = (sys.executable, "-m", "pip", "--python", home / "bin" / "python")
    by_hash = ("install", "--quiet", "--require-hashes", "--only-binary", ":all:", "-r", listed)
    return subprocess.run([*pip, *by_hash], capture_output=True, text=True, check=False)


def installed(home: Path) -> Sequence[str]:
    """Return the packages of the environment, in order."""
    return sorted(one.name.split("-")[0] for one in home.glob("lib/*/site-packages/*.dist-info"))


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Return a list of two pins, with the hashes of ours."""
    found = [one for one in pins(CONSTRAINTS.read_text("utf-8")) if one.requirement.name in SMALL]
    lines = (
        " ".join([str(pin.requirement), *(f"--hash=sha256:{one}" for one in pin.hashes)])
        for pin in found
    )
    file = tmp_path / "constraints.txt"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_packages_with_the_pinned_hashes_are_installed(tmp_path: Path, listed: Path) -> None:
    """Into a fresh environment, from whichever mirror this machine has."""
    done = install(tmp_path / "environment", listed)
    assert (done.returncode, installed(tmp_path / "environment")) == (0, [*SMALL]), done.stderr


def test_package_with_another_hash_is_refused(tmp_path: Path, listed: Path) -> None:
    """Of two packages one has other files than its pin says: neither is installed."""
    (kept, changed) = listed.read_text(encoding="utf-8").splitlines()
    (name, *_) = changed.split()
    listed.write_text(f"{kept}\n{name} --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    done = install(tmp_path / "environment", listed)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert installed(tmp_path / "environment") == []


@pytest.mark.broker
def test_broker_with_one_changed_byte_is_refused(tmp_path: Path) -> None:
    """The jars that brokers here start from are the recorded ones; one that is not is named."""
    jars = fetch(BROKER)
    cache = cache_folder()
    for path in (*jars, cache / BROKER.name / "files.txt"):
        link = tmp_path / path.relative_to(cache)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    assert len(fetch(BROKER, cache=tmp_path)) == len(jars)
    jar = tmp_path / jars[-1].relative_to(cache)
    content = bytearray(jar.read_bytes())
    content[-1] ^= 1
    jar.unlink()
    jar.write_bytes(content)
    with pytest.raises(DigestError, match=jar.name):
        fetch(BROKER, cache=tmp_path)
