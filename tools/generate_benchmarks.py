"""Generate the page of all figures and their bars."""

from benchmarks.bars import BARS

_PAGE = """{note}
# Figures and their bars

From `benchmarks.bars`. Each command ends with the line `<figure>: <value> (bar <bar>) ok` or
`… short` on standard output, and with exit code 1 where a figure is short. A figure that cannot be
measured is short.

- `make bench` runs all of them, which takes more than an hour, and ends with a summary;
  `make bench ONLY=<run>` measures the figures of one run, `make bench ONLY=<figure>` one of them.
- `BENCH_ARGS` and `CHAOS_ARGS` hand on options, such as `BENCH_ARGS="--events 100000 --trials 1"`;
  `--help` lists them. They replace those of the run: a smaller run is quick and says less.
- Results are also written as JSON, with processor, cores, memory, Python, and whether the hot path
  is compiled, to `.izin/bench/<run>.json`; `--output json` prints them.
- Speeds are compared within one run. Run nothing else meanwhile.

| figure | bar | what it measures | run | command |
|---|---|---|---|---|
{rows}
"""


def benchmarks_page(note: str) -> str:
    """Return the page, which begins with ``note``."""
    rows = "\n".join(
        f"| `{bar.name}` | {bar.bar} | {bar.measures} | {bar.run} | `{bar.command}` |"
        for bar in BARS.values()
    )
    return _PAGE.format(note=note, rows=rows)
