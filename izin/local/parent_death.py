"""Run a command that the kernel signals once its parent is gone (PR_SET_PDEATHSIG).

Run as a script: `python parent_death.py PARENT_PID DEATH_SIGNAL UID:GID|- COMMAND…`. It asks the
kernel to send DEATH_SIGNAL once the parent is gone, even by kill -9, and then becomes COMMAND. It
is a script of its own rather than a `preexec_fn`, which may deadlock in a program with threads, and
imports nothing of the project, so that it starts in milliseconds.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_ORPHANED = 125


def main(arguments: list[str]) -> None:
    """Become the command in `arguments`. Exits with 125 where the parent is gone already."""
    parent, death_signal, owner, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if owner != "-":
        uid, gid = (int(part) for part in owner.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After the change of user, which would clear it.
    if libc is not None and libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # The parent may have died before the signal was set.
    if os.getppid() != int(parent):
        sys.exit(_ORPHANED)
    os.execvp(command[0], command)  # noqa: S606 - becoming the command is the point


if __name__ == "__main__":
    main(sys.argv[1:])
