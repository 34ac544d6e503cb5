"""The Chromium for the tests of the citizen's page: found, or installed where that is allowed.

`make test` runs `python -m simulator_harness.browser`. It installs Debian's chromium where there is
none, the user is root and apt works; otherwise it prints one line about the tests it skips.
"""

import os
import shutil
import subprocess
import sys

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_UPDATE = ("apt-get", "-qq", "update")
_INSTALL = ("apt-get", "-qq", "-y", "--no-install-recommends", "install", "chromium")
_TIMEOUT = 300
HOW_TO = "no browser found: install chromium to run the tests of the citizen's page"


def found() -> str | None:
    """Return the path of a Chromium on this machine."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def install() -> bool:
    """Install Debian's chromium; return False where this user may not, or where it fails."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (_UPDATE, _INSTALL):
        try:
            subprocess.run(
                command, env=environment, timeout=_TIMEOUT, check=True, capture_output=True
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return False
    return True


if __name__ == "__main__" and found() is None:
    sys.stderr.write("installing chromium for the citizen's page\n")
    if not install():
        sys.stderr.write(f"{HOW_TO}\n")
