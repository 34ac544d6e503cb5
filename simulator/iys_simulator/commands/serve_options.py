"""The options of `iys-simulator serve`; each is an environment variable too."""

from pathlib import Path
from typing import Annotated

import typer


def _env(name: str) -> str:
    return f"IYS_SIMULATOR_{name}"


Host = Annotated[str, typer.Option(envvar=_env("HOST"), help="Address to listen on.")]
Port = Annotated[int, typer.Option(envvar=_env("PORT"), help="Port to listen on.")]
Accounts = Annotated[
    list[str] | None,
    typer.Option(
        "--account", envvar=_env("ACCOUNT"), help="username:password:iysCode (repeatable)"
    ),
]
Brands = Annotated[
    list[str] | None,
    typer.Option(
        "--brand",
        envvar=_env("BRAND"),
        help="code:iysCode:name[:activatedAt], the date as YYYY-MM-DD HH:MM:SS (repeatable)",
    ),
]
ResultDelay = Annotated[
    float, typer.Option(envvar=_env("RESULT_DELAY"), help="Seconds until a batch is processed.")
]
HiddenWindow = Annotated[
    float, typer.Option(envvar=_env("HIDDEN_WINDOW"), help="Seconds that pull hides a movement.")
]
RequestsPerSecond = Annotated[
    int, typer.Option(envvar=_env("REQUESTS_PER_SECOND"), help="H124; 0: no limit.")
]
SlidingRequests = Annotated[
    bool, typer.Option(envvar=_env("SLIDING_REQUESTS"), help="H124 by sliding seconds.")
]
TokenLimit = Annotated[
    int, typer.Option(envvar=_env("TOKEN_LIMIT"), help="H084, per hour; 0: no limit.")
]
FlatTokenLimit = Annotated[
    bool, typer.Option(envvar=_env("FLAT_TOKEN_LIMIT"), help="H084 without the envelope.")
]
StatusLimit = Annotated[
    int, typer.Option(envvar=_env("STATUS_LIMIT"), help="H086, per hour; 0: no limit.")
]
SlidingDays = Annotated[
    bool, typer.Option(envvar=_env("SLIDING_DAYS"), help="H467 by the time of day.")
]
UnknownNotFound = Annotated[
    bool, typer.Option(envvar=_env("UNKNOWN_NOT_FOUND"), help="404 for an unknown recipient.")
]
MisspeltForbidden = Annotated[
    bool, typer.Option(envvar=_env("MISSPELT_FORBIDDEN"), help="H353 under the key `code:`.")
]
HexRequestIds = Annotated[
    bool, typer.Option(envvar=_env("HEX_REQUEST_IDS"), help="requestIds without dashes.")
]
AllowHttpPush = Annotated[
    bool, typer.Option(envvar=_env("ALLOW_HTTP_PUSH"), help="Push to http:// too.")
]
PushRetries = Annotated[
    int, typer.Option(envvar=_env("PUSH_RETRIES"), help="Retries after a failed delivery.")
]
Switches = Annotated[
    list[str] | None,
    typer.Option("--set", envvar=_env("SET"), help="Any switch: name=value (repeatable)."),
]
StateFile = Annotated[
    Path | None,
    typer.Option(
        "--state", envvar=_env("STATE"), help="SQLite file of the state; without, memory."
    ),
]
Seed = Annotated[
    int, typer.Option(envvar=_env("SEED"), help="Seed of random choices, to repeat a run.")
]
