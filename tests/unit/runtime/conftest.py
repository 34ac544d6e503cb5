"""Settings are read of what a test sets, and of nothing that the machine has."""

import pytest

from izin.runtime.setting_rules.group import SUFFIX, SettingsGroup


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take our variables, and those of PostgreSQL's library, out of the environment."""
    ours = {
        f"{field.validation_alias}{suffix}"
        for group in SettingsGroup.__subclasses__()
        for field in group.model_fields.values()
        for suffix in ("", SUFFIX)
    }
    for name in ours | {"PGSSLMODE", "PGHOST", "PGHOSTADDR", "PGSERVICE"}:
        monkeypatch.delenv(name, raising=False)
