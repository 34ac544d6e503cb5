"""Pure records of the sinks: a key's row, what is submitted, what came of it. No I/O."""
