"""`python -m izin.simulator` starts the twin."""

from izin.simulator.commands.cli import app

if __name__ == "__main__":
    app(prog_name="python -m izin.simulator")
