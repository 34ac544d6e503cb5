"""Every secret may be in a file, which a second variable names."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from izin.runtime import settings
from izin.runtime.errors import SettingError
from izin.runtime.setting_rules.group import (
    SUFFIX,
    SettingsGroup,
    secret_variables,
    without_secret_files,
)

GROUPS = tuple(SettingsGroup.__subclasses__())
SECRETS = [(group, name) for group in GROUPS for name in secret_variables(group)]
SECRET = "postgresql://izin:obviously-fake@127.0.0.1/izin"
"""A text that any secret may be."""
EVERY_SECRET = pytest.mark.parametrize(
    ("group", "name"), SECRETS, ids=[name for _, name in SECRETS]
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set what must be set, and what a secret needs beside it."""
    monkeypatch.setenv("IYS_USERNAME", "acme")
    for name in ("DATABASE_URL", "IYS_PASSWORD"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setattr(settings.KafkaSettings, "faults", lambda _: iter(()))


def file_of(folder: Path, text: str) -> Path:
    """Return a file with ``text``."""
    path = folder / "secret"
    path.write_text(text, encoding="utf-8")
    return path


def value_of(group: type[SettingsGroup], name: str) -> object:
    """Return the plain value of a secret of the group, as its settings have it."""
    match group().given[name]:
        case SecretStr() as secret:
            return secret.get_secret_value()
        case several:
            return [one.get_secret_value() for one in several]


def test_every_secret_is_known() -> None:
    """By its type; those that need one today are among them."""
    known = {name for _, name in SECRETS}
    assert known >= {
        "DATABASE_URL",
        "IYS_PASSWORD",
        "KAFKA_SASL_PASSWORD",
        "IZIN_SUPPRESSION_SECRETS",
    }
    assert known >= {"KAFKA_SSL_KEY_PASSWORD", "SCHEMA_REGISTRY_PASSWORD", "IZIN_PUSH_PASSWORD"}


@EVERY_SECRET
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_secret_is_read_from_its_file(
    group: type[SettingsGroup],
    name: str,
    end: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Without the line break that editors add, and with every other character."""
    is_list = name == "IZIN_SUPPRESSION_SECRETS"
    text = json.dumps([SECRET]) if is_list else f" {SECRET} "
    monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"{name}{SUFFIX}", str(file_of(tmp_path, f"{text}{end}")))
    assert value_of(group, name) == ([SECRET] if is_list else text)


@EVERY_SECRET
def test_secret_given_twice_is_refused(
    group: type[SettingsGroup], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody could say which of them holds."""
    monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv(f"{name}{SUFFIX}", str(file_of(tmp_path, "another")))
    with pytest.raises(SettingError, match=f"{name} and {name}_FILE are both set") as refused:
        group()
    assert SECRET not in str(refused.value)


@EVERY_SECRET
def test_secret_in_an_unreadable_file_is_refused(
    group: type[SettingsGroup], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error names the variable and the file."""
    monkeypatch.delenv(name, raising=False)
    path = tmp_path / "nowhere"
    monkeypatch.setenv(f"{name}{SUFFIX}", str(path))
    with pytest.raises(SettingError, match=f"{name}_FILE={path} cannot be read"):
        group()


@pytest.fixture(params=[b"", b"\n", b"\xff\xfesecret"])
def unusable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a file in which there is no secret."""
    path = tmp_path / "secret"
    path.write_bytes(request.param)
    return path


def test_file_without_a_text_is_refused(unusable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty password would be tried, and other bytes quoted."""
    monkeypatch.delenv("IYS_PASSWORD")
    monkeypatch.setenv("IYS_PASSWORD_FILE", str(unusable))
    with pytest.raises(SettingError, match=f"IYS_PASSWORD_FILE={unusable} is") as refused:
        settings.IysSettings()
    assert "secret there" in str(refused.value)
    assert refused.value.__cause__ is None


def test_empty_variable_beside_a_file_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Compose sets variables that are left out to nothing."""
    monkeypatch.setenv("IYS_PASSWORD", "")
    monkeypatch.setenv("IYS_PASSWORD_FILE", str(file_of(tmp_path, SECRET)))
    assert value_of(settings.IysSettings, "IYS_PASSWORD") == SECRET


def test_argument_outranks_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """What code gives is not looked for."""
    monkeypatch.setenv("DATABASE_URL_FILE", "/nowhere")
    made = settings.LedgerSettings.model_validate({"DATABASE_URL": SECRET})
    assert made.database_url.get_secret_value() == SECRET


def test_other_settings_have_no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file of a plain setting would hide what it is."""
    monkeypatch.setenv("IYS_EGRESS_ADDRESS_FILE", str(file_of(tmp_path, "another")))
    assert settings.IysSettings().egress_address == "default"


def test_local_stack_passes_values_on(tmp_path: Path) -> None:
    """A stack sets values of its own, beside which a file would be a second one."""
    path = str(file_of(tmp_path, SECRET))
    given = {"DATABASE_URL_FILE": path, "KAFKA_SSL_CA_FILE": "ca.pem", "HOME": "/"}
    assert without_secret_files(given) == {
        "DATABASE_URL": SECRET,
        "KAFKA_SSL_CA_FILE": "ca.pem",
        "HOME": "/",
    }
