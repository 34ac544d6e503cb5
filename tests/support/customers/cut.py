"""How one command is run for one customer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Lines of words behind a command's name, each run among forty customers; ``{…}`` names what is
    ours, ``{their_…}`` what is another's, ``{new}`` a path where nothing is.
    """

    lines: tuple[str, ...]
    shows: str
    """What the output or a file has of ours, so that a silent command does not pass."""
    refused: tuple[str, ...]
    """Lines that ask for ``acme``'s and name another's: refused, and nothing of it is shown."""
    selects_none: tuple[str, ...]
    """Lines that select by ``acme`` and by another's brand, which nothing has together."""
    counts: bool
    """Whether a number above the hundred is a count of everybody's. It is none of an offset, of a
    size, or of what is of the installation and names nobody.
    """
    whole: str
    """Why it shows everybody's, if it does."""


def cut(
    *lines: str,
    shows: str = "",
    refused: tuple[str, ...] = (),
    selects_none: tuple[str, ...] = (),
    counts: bool = True,
    whole: str = "",
) -> Cut:
    """Return the cut of a command that is run by ``lines``."""
    return Cut(
        lines=lines,
        shows=shows,
        refused=refused,
        selects_none=selects_none,
        counts=counts,
        whole=whole,
    )
