"""A house begins in a folder of its own, and empties no other."""

import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from izin.console.local_stack.stack import LocalStack, Ports, example_brands
from izin.console.up import _shown
from izin.local import LocalError, PortTakenError, StateInUseError
from izin.local.folders import FolderLock


def a_house(
    folder: Path, ports: Ports | None = None, told: Callable[[str], None] = lambda _: None
) -> LocalStack:
    """Return a house that was not started."""
    return LocalStack(folder, brands=example_brands(), ports=ports, environ={}, on_progress=told)


@pytest.fixture
def lived_in(tmp_path: Path) -> Path:
    """Give the folder of an earlier run, with what it left."""
    folder = tmp_path / "state"
    house = a_house(folder)
    house._begin_empty()
    house.stop()
    (folder / "logs").mkdir()
    (folder / "logs" / "intake.log").write_text("old", "utf-8")
    (folder / "environment").write_text("OLD=1", "utf-8")
    (folder / "notes.txt").write_text("mine", "utf-8")
    return folder


def test_a_run_removes_what_an_earlier_one_left_and_nothing_else(lived_in: Path) -> None:
    """A file that somebody put there is still there; what goes is told in one line."""
    told: list[str] = []
    house = a_house(lived_in, told=told.append)
    house._begin_empty()
    house.stop()
    assert told == [f"removing the ledger, topics and logs of the run before, in {lived_in}"]
    assert not (lived_in / "logs").exists()
    assert not (lived_in / "environment").exists()
    assert (lived_in / "notes.txt").read_text("utf-8") == "mine"


def test_a_first_run_removes_nothing_and_says_so_by_silence(tmp_path: Path) -> None:
    """There is nothing to tell of."""
    told: list[str] = []
    house = a_house(tmp_path / "state", told=told.append)
    house._begin_empty()
    house.stop()
    assert told == []


def test_the_addresses_of_the_house_are_shown(tmp_path: Path) -> None:
    """The registry's where it has one, and a request that the intake takes as it stands."""
    house = a_house(tmp_path / "state")
    house.intake_url = "http://127.0.0.1:8081"
    assert "registry" not in _words_of(house)
    house._environment = {"SCHEMA_REGISTRY_URL": "http://127.0.0.1:18080/apis/ccompat/v7"}
    words = _words_of(house)
    assert "registry http://127.0.0.1:18080/apis/ccompat/v7" in words
    assert "curl http://127.0.0.1:8081/v1/consents" in words
    assert house.intake_token not in words


def _words_of(house: LocalStack) -> str:
    return " ".join(str(_shown(house).renderable).split())


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """A folder that holds other things is neither marked nor emptied, now or later."""
    (tmp_path / "logs").mkdir()
    for _ in range(2):
        with pytest.raises(LocalError, match="--state-dir"):
            a_house(tmp_path)._begin_empty()
    assert [one.name for one in tmp_path.iterdir()] == ["logs"]


def test_a_house_that_is_up_is_not_emptied(lived_in: Path) -> None:
    """The second run on a folder ends with an error, and the first one's files stay."""
    with (
        FolderLock(lived_in, within=timedelta()),
        pytest.raises(StateInUseError, match="--state-dir"),
    ):
        a_house(lived_in)._begin_empty()
    assert (lived_in / "logs" / "intake.log").exists()


@pytest.mark.parametrize(
    ("option", "ports"),
    [
        ("--intake-port", lambda port: Ports(intake=port)),
        ("--sink-port", lambda port: Ports(sink=port)),
        ("--stream-port", lambda port: Ports(stream=port)),
        ("--simulator-port", lambda port: Ports(simulator=port)),
    ],
)
def test_a_taken_port_is_named_with_its_option(
    tmp_path: Path, option: str, ports: Callable[[int], Ports]
) -> None:
    """The error names the port, the cure, and nothing was started or written."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=option) as failed:
            a_house(tmp_path / "state", ports(port)).start()
    assert str(port) in str(failed.value)
    assert not (tmp_path / "state").exists()
