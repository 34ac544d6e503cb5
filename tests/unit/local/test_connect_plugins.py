"""``izin download --connect-plugins``: a folder that a worker of Kafka Connect can load."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.local import kafka
from izin.local.errors import DownloadError
from izin.local.java import FileSet

RUNNER = CliRunner()


def test_plugins_are_copied_each_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without Kafka's own classes, and without jars of an earlier release."""
    store, plugins = tmp_path / "store", tmp_path / "plugins"
    jars = {
        "sink": store / "unpacked" / "debezium" / "sink.jar",
        "converter": store / "io" / "apicurio" / "converter.jar",
        "kafka": store / "org" / "apache" / "kafka" / "kafka-clients.jar",
    }
    for jar in jars.values():
        jar.parent.mkdir(parents=True, exist_ok=True)
        jar.write_text(jar.name)

    def fetch(files: FileSet, **_: object) -> list[Path]:
        assert "converter" in files.name
        return [jars["converter"], jars["kafka"]]

    monkeypatch.setattr(kafka, "fetch_unpacked", lambda _, **__: store / "unpacked")
    monkeypatch.setattr(kafka, "fetch", fetch)
    (plugins / "jdbc-sink").mkdir(parents=True)
    (plugins / "jdbc-sink" / "old.jar").touch()
    done = RUNNER.invoke(app, ["download", "--connect-plugins", str(plugins)])
    assert done.exit_code == 0, done.output
    found = {one.name: [each.name for each in one.iterdir()] for one in plugins.iterdir()}
    assert found == {"jdbc-sink": ["sink.jar"], "avro-converter": ["converter.jar"]}
    assert (plugins / "avro-converter" / "converter.jar").read_text() == "converter.jar"


def test_plugins_that_cannot_be_downloaded_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Exit code 4, and the reason."""

    def fetch(*_: object, **__: object) -> Path:
        raise DownloadError("plugin.tar.gz", "no network")

    monkeypatch.setattr(kafka, "fetch_unpacked", fetch)
    done = RUNNER.invoke(app, ["download", "--connect-plugins", str(tmp_path)])
    assert (done.exit_code, "no network" in done.output) == (4, True)
