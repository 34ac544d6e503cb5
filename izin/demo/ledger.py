"""The ledger and the consumer groups, as the demo looks at them: how far, and what is held."""

from __future__ import annotations
