"""``python -m tests.e2e.demo_of_roles demo …``: izin, whose stack gives each process a principal of
its own, by the name of the process, and the topics a prefix that is known before.
"""

import sys
from collections.abc import Mapping
from typing import Any

from izin.cli.__main__ import main
from izin.stack.stack import LocalStack

PREFIX = "of-roles-"


def _as_roles() -> None:
    command, settings = LocalStack._command, LocalStack._settings

    def of_role(
        self: LocalStack,
        name: str,
        *module: str,
        ready: str,
        extra: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401  # a command
        role = {"KAFKA_SASL_USERNAME": name.removesuffix(" worker")}
        return command(self, name, *module, ready=ready, extra={**(extra or {}), **role})

    def of_prefix(self: LocalStack) -> dict[str, str]:
        return {**settings(self), "IZIN_TOPIC_PREFIX": PREFIX}

    LocalStack._command, LocalStack._settings = of_role, of_prefix  # type: ignore[method-assign]


if __name__ == "__main__":
    _as_roles()
    sys.exit(main())
