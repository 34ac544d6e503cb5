"""The settings of commands that ask the gate."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, SecretStr

from izin.runtime.setting_rules import checks
from izin.runtime.setting_rules.group import SettingsGroup


class SenderSettings(SettingsGroup):
    """How `izin may-send` and `izin scrub` reach the gate."""

    url: str = Field("http://127.0.0.1:8087", validation_alias="IZIN_GATE_URL")
    api_key: SecretStr = Field(validation_alias="IZIN_API_KEY")
    """A key with the scope ``ask``."""
    ca_file: Path | None = Field(None, validation_alias="IZIN_GATE_CA_FILE")
    """The authorities (PEM) of the gate's certificate; none: those of the operating system."""
    production: bool = Field(False, validation_alias="IZIN_PRODUCTION")
    """Refuse an ``IZIN_GATE_URL`` on ``http://``."""

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the URL."""
        yield from checks.url_faults(
            self.given, "IZIN_GATE_URL", "take it out and set IZIN_API_KEY"
        )
        if self.production:
            yield from checks.plain_url(self.given, "IZIN_GATE_URL")
