"""Conformance: a table of requests and İYS's responses, and whether a base URL responds the same.

The cases are data (`case`), one module for each group of endpoints, taken from İYS's description
3.2.0; the runner sets up, sends and compares. `iys-simulator conformance` runs them against any
base URL, and the simulator's own tests run them against the simulator.
"""

from iys_simulator.conformance import endpoints
from iys_simulator.conformance.all_cases import all_cases
from iys_simulator.conformance.case import Caller, Case, Endpoint, Expected, Step
from iys_simulator.conformance.receiver import push_receiver
from iys_simulator.conformance.runner import Outcome, Result, Runner
from iys_simulator.conformance.target import Credentials, Target, UnreachableError

__all__ = [
    "Caller",
    "Case",
    "Credentials",
    "Endpoint",
    "Expected",
    "Outcome",
    "Result",
    "Runner",
    "Step",
    "Target",
    "UnreachableError",
    "all_cases",
    "endpoints",
    "push_receiver",
]
