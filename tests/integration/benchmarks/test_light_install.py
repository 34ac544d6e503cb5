"""The benchmark of the light install measures an environment, and reports what pip refuses."""

import sys
from pathlib import Path

import pytest

from benchmarks.light_install import import_seconds, install
from benchmarks.order.timer import TrialError


def test_installed_packages_are_counted(tmp_path: Path):
    """One without dependencies is one package, in an environment that is fresh each time."""
    for _ in range(2):
        found = install("six", ("six",), tmp_path / "environment")
        assert found.packages == 1
        assert found.megabytes > 0
        assert found.seconds > 0


def test_import_is_timed_in_an_interpreter_of_its_own():
    """Whatever was imported here before."""
    assert import_seconds(sys.executable, "izin.consent.texts") > 0


def test_requirement_that_pip_refuses_is_an_error(tmp_path: Path):
    """With what pip says."""
    with pytest.raises(TrialError, match=r"absent\.whl"):
        install("absent", (str(tmp_path / "absent.whl"),), tmp_path / "environment")
