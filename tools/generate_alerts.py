"""The page of alerts, from Prometheus's rules."""

from pathlib import Path
from typing import Any

import yaml

RULES = "deploy/prometheus/alerts.yml"

_INTRODUCTION = """# Alerts

For those who are woken. The rules are in [{rules}](../{rules}), for
Prometheus; each has a test in which it fires, and one in which it does not. `page` is for now: an
opt-out (RET) may be late, lost or overrun, or nothing may be sent. `ticket` is for working hours.
[prometheus.yml](../deploy/prometheus/prometheus.yml) says where the processes are read.

Whatever is red, `izin doctor` first: it names what is wrong with the remedy, and changes nothing.
"""


def alerts_page(note: str, root: Path) -> str:
    """Return the page of all alerts, ``note`` first: each has a section, by which it is linked."""
    groups = yaml.safe_load((root / RULES).read_text(encoding="utf-8"))["groups"]
    parts = [f"{note}\n{_INTRODUCTION.format(rules=RULES)}"]
    for group in groups:
        title = group["name"].removeprefix("izin ")
        parts.append(f"## {title[0].upper()}{title[1:]}\n")
        parts += [_section(rule) for rule in group["rules"]]
    return "\n".join(parts)


def _section(rule: Any) -> str:  # noqa: ANN401  # YAML
    notes, lasts = rule["annotations"], rule.get("for")
    steps = "".join(f"{number}. {one}\n" for number, one in enumerate(_steps(notes["remedy"]), 1))
    when = f" for {lasts}" if lasts else ""
    expression = " ".join(rule["expr"].split())
    return (
        f"### {rule['alert']}\n\n`{rule['labels']['severity']}`: {notes['summary']}\n\n{steps}\n"
        f"When{when}: `{expression}`\n"
    )


def _steps(remedy: str) -> list[str]:
    return [line.strip() for line in remedy.splitlines() if line.strip()]
