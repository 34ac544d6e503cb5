"""The admin API under `/__simulator__/`."""
