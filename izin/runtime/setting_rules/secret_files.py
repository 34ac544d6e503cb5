"""Secrets from files: ``DATABASE_URL_FILE`` names the file that has the value of ``DATABASE_URL``.

The environment of a process is shown by many tools and inherited by its children; a mounted file is
neither. Every setting that is secret may be given so, also one that is added later.
"""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from izin.runtime.setting_rules.secret_text import SUFFIX, secret_of

__all__ = ("SUFFIX", "SecretFiles", "is_secret", "secret_of", "secret_variables")


def secret_variables(group: type[BaseSettings]) -> tuple[str, ...]:
    """Return the variables of ``group`` whose values are secret."""
    return tuple(
        str(field.validation_alias)
        for field in group.model_fields.values()
        if is_secret(field.annotation)
    )


def is_secret(annotation: object) -> bool:
    """Whether values of this type are secret, or have secrets in them."""
    return annotation is SecretStr or any(is_secret(one) for one in get_args(annotation))


class SecretFiles(PydanticBaseSettingsSource):
    """The source of secrets in files, for one group of settings."""

    def __init__(self, group: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(group)
        self._environ = environ

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002  # the library's signature
        """Return the value, its key, and that it is no JSON; raises SettingError."""
        variable = str(field.validation_alias)
        if not is_secret(field.annotation) or variable in self.current_state:
            return None, variable, False
        return secret_of(variable, self._environ), variable, False

    def __call__(self) -> dict[str, Any]:
        """Return the secrets of the group that are in files; raises SettingError."""
        fields = self.settings_cls.model_fields.items()
        found = (self.get_field_value(field, name) for name, field in fields)
        return {variable: value for value, variable, _ in found if value is not None}
