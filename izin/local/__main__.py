"""``python -m izin.local``: the command ``izin local``."""

from izin.local.cli import app

if __name__ == "__main__":
    app(prog_name="python -m izin.local")
