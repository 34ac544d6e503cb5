"""The console over the ledger of a test: who has an account, signs in, and is shown what."""

from tests.support.console.harness import HOME, Browser, ConsoleHarness, console_over

__all__ = ("HOME", "Browser", "ConsoleHarness", "console_over")
