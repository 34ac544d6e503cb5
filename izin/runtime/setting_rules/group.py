"""What every group of settings does: read the environment and files of secrets, freeze, refuse."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, Self, get_args

from pydantic import BeforeValidator, SecretStr, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from izin.runtime.setting_rules import checks
from izin.runtime.setting_rules.checks import SUFFIX, secret_of

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
    return annotation is SecretStr or any(is_secret(get_arg) for get_arg in get_args(annotation))


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


class SettingsGroup(BaseSettings):
    """A group of settings, which are named as their variables are.

    Raises:
        ValidationError: a value is missing or wrong; it names the variables, and no value.
        SettingError: values do not go together, or a file cannot be used.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from, the first that has one: arguments, files, variables."""
        return init_settings, SecretFiles(settings_cls, os.environ), env_settings

    @model_validator(mode="after")
    def _without_faults(self) -> Self:
        checks.refuse(self.faults())
        return self

    @property
    def given(self) -> checks.Given:
        """The values that are set, by variable."""
        values = {
            str(field.validation_alias): getattr(self, name)
            for name, field in type(self).model_fields.items()
        }
        return {variable: value for variable, value in values.items() if value is not None}

    def faults(self) -> Iterator[str]:
        """Yield what does not go together; may raise SettingError itself."""
        yield from ()


def without_secret_files(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` with the secrets of files as values; raises SettingError."""
    secrets = {name for group in SettingsGroup.__subclasses__() for name in secret_variables(group)}
    found = {name: secret_of(name, environ) for name in secrets}
    kept = {
        name: value
        for name, value in environ.items()
        if not name.endswith(SUFFIX) or name.removesuffix(SUFFIX) not in secrets
    }
    return kept | {name: value for name, value in found.items() if value is not None}


def list_of_texts(given: object) -> object:
    """Return a JSON list of texts as a list; anything but a text as it is.

    The error of the default decoder does not name the setting.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(given, str):
        return given
    with suppress(ValueError):
        found = json.loads(given)
        if isinstance(found, list) and all(isinstance(one, str) for one in found):
            return found
    raise ValueError('write a JSON list of texts, such as ["..."]')


SecretTexts = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(list_of_texts)]
"""A JSON list of secrets."""
