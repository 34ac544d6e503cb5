"""Faults under which a gate must never say yes to somebody who opted out, or whom İYS has not."""
