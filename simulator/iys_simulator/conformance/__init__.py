"""Conformance: what İYS answers, as a table of requests, and whether a base URL answers so.

The cases are data (`case`), a module a group of operations, each from İYS's description 3.2.0; the
runner sets up, asks and compares. `izin simulator conformance` runs them against any base URL, and
the twin's own tests run them against the twin.
"""

from iys_simulator.conformance import operations
from iys_simulator.conformance.case import Case, Expected, Operation, Speaker, Step
from iys_simulator.conformance.counterpart import Counterpart, Credentials, UnreachedError
from iys_simulator.conformance.receiver import receiving
from iys_simulator.conformance.runner import Outcome, Result, Runner
from iys_simulator.conformance.table import all_cases

__all__ = [
    "Case",
    "Counterpart",
    "Credentials",
    "Expected",
    "Operation",
    "Outcome",
    "Result",
    "Runner",
    "Speaker",
    "Step",
    "UnreachedError",
    "all_cases",
    "operations",
    "receiving",
]
