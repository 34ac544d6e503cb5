"""Load on the İYS simulator."""
