"""``python -m tests.chaos.words``: 20,000 names and words; ``make chaos STAGE=words``.

It ends with the lines ``words: … ok`` or ``short``. Exit codes: 0 no consent was invented, no
opt-out lost, and every pair of docs and tests is read as before or listed with its reason; 1 else;
2 wrong usage.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport
from tests.chaos.command import conclude, empty, listed
from tests.chaos.words.campaign import WordsVerdict, run

app = typer.Typer(add_completion=False, help="Names of columns and words in them.")


@app.command()
def main(
    pairs: Annotated[int, typer.Option(min=1, help="How many.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same pairs for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="The result.")] = Path(".izin/chaos-words"),
) -> None:
    """Read generated names and words, as files and as every way in reads them."""
    empty(folder)
    raise conclude("words", folder, report(run(pairs=pairs, seed=seed), seed=seed))


def report(verdict: WordsVerdict, *, seed: int) -> RunReport:
    """Return the report of a campaign."""
    wrong = [*verdict.invented, *verdict.lost, *verdict.broken]
    summary = (
        f"{verdict.pairs} pairs: {verdict.consents} consents, {verdict.opt_outs} opt-outs, "
        f"{verdict.stopped} stop the file, {len(verdict.changed)} of docs and tests are read "
        "otherwise than before:"
    )
    why = [f"  {pair}: {reason}" for pair, reason in verdict.changed.items()]
    return RunReport(
        tables=[summary, *why, *listed(ascii(one) for one in wrong)],
        data={"seed": seed, **asdict(verdict)},
        figures={
            "words": verdict.pairs,
            "words-invented": len(verdict.invented),
            "words-lost": len(verdict.lost) + len(verdict.broken),
        },
        failures=wrong,
    )


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.words")
