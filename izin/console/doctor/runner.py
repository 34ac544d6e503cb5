"""How the doctor asks: one check after the other, and none breaks over what it finds.

A check that hangs on another is skipped where that one failed: a part that is away is told of once,
and waited for once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from pydantic import ValidationError
from pydantic_settings import SettingsError

from izin.consent.errors import IzinError
from izin.console.doctor.ledger_checks import Finding, State
from izin.console.terminal.output import wrong_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A question, and which others must have gone well before it can be asked."""

    name: str
    ask: Callable[[bool], Iterator[Finding]]
    """Asks it, and mends what may be mended where it is told to."""
    needs: frozenset[str] = frozenset()


def findings(checks: Sequence[Check], fix: bool) -> Iterator[Finding]:
    """Yield what ``checks`` find, in their order, each as it comes."""
    faults: dict[str, frozenset[str]] = {}
    for check in checks:
        at_fault = frozenset().union(*(faults.get(one, frozenset()) for one in check.needs))
        if at_fault:
            faults[check.name] = at_fault
            what = f"not looked at; first see to: {', '.join(sorted(at_fault))}"
            yield Finding(check=check.name, state=State.SKIPPED, what=what)
            continue
        for one in _safely(check, fix):
            if one.state in {State.WRONG, State.SKIPPED}:
                faults[one.check] = frozenset({one.check})
            yield one


def _safely(check: Check, fix: bool) -> Iterator[Finding]:
    """Yield what ``check`` finds; what it cannot even look at is a finding too."""
    name = check.name
    try:
        yield from check.ask(fix)
    except ValidationError as error:
        kinds = {one["type"] for one in error.errors()}
        state = State.SKIPPED if kinds == {"missing"} else State.WRONG
        yield Finding(check=name, state=state, what=wrong_settings(error))
    except (SettingsError, IzinError) as error:
        yield Finding(check=name, state=State.WRONG, what=str(error))
    except psycopg.Error as error:
        # Its text may hold the password.
        what = f"{type(error).__name__}; is PostgreSQL running, and is DATABASE_URL right?"
        yield Finding(check=name, state=State.WRONG, what=what)
    except TimeoutError:
        what = "no answer in time; what keeps the server from answering?"
        yield Finding(check=name, state=State.WRONG, what=what)
    except Exception as error:  # noqa: BLE001  # whatever it is, the other checks are still to be made
        what = (
            f"{type(error).__name__}, which nobody foresaw; are the settings right that it reads "
            "(docs/settings.md)?"
        )
        yield Finding(check=name, state=State.WRONG, what=what)
