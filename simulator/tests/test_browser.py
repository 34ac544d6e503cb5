"""A missing browser is installed where the user may, and reported otherwise."""

import runpy
import subprocess

import pytest

from simulator_harness import browser


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Return the recorded commands, of which none runs; the user is root, and apt exists."""
    run: list[tuple[str, ...]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: run.append(command))
    monkeypatch.setattr(browser.os, "geteuid", lambda: 0)
    there = {"apt-get": "/usr/bin/apt-get"}
    monkeypatch.setattr(browser.shutil, "which", there.get)
    return run


def test_root_installs_chromium(commands: list[tuple[str, ...]]):
    """The package lists are updated, then chromium is installed without questions."""
    assert browser.install()
    assert [command[-1] for command in commands] == ["update", "chromium"]


def test_other_users_install_nothing(
    monkeypatch: pytest.MonkeyPatch, commands: list[tuple[str, ...]]
):
    """Nothing is run, and the result is False."""
    monkeypatch.setattr(browser.os, "geteuid", lambda: 1000)
    assert not browser.install()
    assert commands == []


def test_without_apt_nothing_is_installed(
    monkeypatch: pytest.MonkeyPatch, commands: list[tuple[str, ...]]
):
    """Another system has its own package manager."""
    monkeypatch.setattr(browser.shutil, "which", lambda _: None)
    assert not browser.install()
    assert commands == []


@pytest.mark.parametrize(
    "problem", [subprocess.CalledProcessError(100, "apt-get"), subprocess.TimeoutExpired("apt", 1)]
)
def test_failed_installation_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], problem: Exception
):
    """The tests continue, and one line says what they will skip."""

    def fail(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(subprocess, "run", fail)
    runpy.run_path(browser.__file__, run_name="__main__")
    assert browser.HOW_TO in capsys.readouterr().err


def test_installed_browser_is_found(monkeypatch: pytest.MonkeyPatch):
    """Under any of its names."""
    there = {"google-chrome": "/opt/google-chrome"}
    monkeypatch.setattr(browser.shutil, "which", there.get)
    assert browser.found() == "/opt/google-chrome"
