"""Pure records of the sinks: a key's row, its submission, its outcome. No I/O."""
