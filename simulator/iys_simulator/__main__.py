"""Run the command line as `python -m iys_simulator`."""

from iys_simulator.commands.cli import main

if __name__ == "__main__":
    main()
