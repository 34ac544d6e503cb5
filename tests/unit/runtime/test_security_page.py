"""What docs/security.md shows can be set, and is taken."""

import re
import shlex
from pathlib import Path

import pytest

from izin.runtime import settings
from izin.runtime.setting_rules.group import SUFFIX, SettingsGroup, secret_variables
from tests.support.secure import Authority

PAGE = (Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8")
EXAMPLES = [
    dict(line.split("=", 1) for line in shlex.split(block, comments=True))
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
]
GROUPS = tuple(SettingsGroup.__subclasses__())
SECRETS = {name for group in GROUPS for name in secret_variables(group)}
KNOWN = {
    str(field.validation_alias) for group in GROUPS for field in group.model_fields.values()
} | {f"{name}{SUFFIX}" for name in SECRETS}


def test_every_setting_on_the_page_is_one() -> None:
    """Also those in its tables and sentences; … stands for the rest of a name."""
    named = set(re.findall(r"\b(?:KAFKA|SCHEMA_REGISTRY|DATABASE|IYS|IZIN)_[A-Z_]*[A-Z]\b", PAGE))
    assert len(named) > 20
    starts = {"KAFKA_SASL_OAUTHBEARER"}
    assert named - starts <= KNOWN


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, Path]:
    """Return the files of the examples as a machine would have them, by the names there."""
    ours = Authority(tmp_path)
    client = ours.issue("client", password="obviously-fake")
    secret = tmp_path / "secret"
    secret.write_text("obviously-fake\n", encoding="ascii")
    return {
        "client.pem": client.certificate,
        "client-key.pem": client.key,
        **{f"{one}-ca.pem": ours.file for one in ("kafka", "login", "registry", "db")},
        **dict.fromkeys(("kafka", "kafka-client", "client-key", "registry"), secret),
    }


@pytest.mark.parametrize("given", EXAMPLES, ids=lambda given: next(iter(given)))
def test_example_is_taken(
    given: dict[str, str], machine: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its files in their places, in production wherever it is about all connections."""
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        file = machine.get(Path(value).name) if name.endswith(SUFFIX) else None
        monkeypatch.setenv(name, str(file or value))
    of_ledger = "DATABASE_URL" in given
    if of_ledger or "KAFKA_SECURITY_PROTOCOL" in given:
        monkeypatch.setenv("IZIN_PRODUCTION", "true")
    made = settings.LedgerSettings() if of_ledger else settings.KafkaSettings()
    taken = {f"{name}{suffix}" for name in made.given for suffix in ("", SUFFIX)}
    assert set(given) <= taken
