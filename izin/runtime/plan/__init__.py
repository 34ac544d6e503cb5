"""Plan, then execute: by a file, with what it relies on, what it concerns, and its progress."""

from izin.runtime.plan.file import (
    DESIRED_CONSENTS,
    REBUILD,
    Bounds,
    OtherPlanError,
    Plan,
    PlanMovedError,
    PrivateLines,
    UnreadablePlanError,
    bounds_of,
    lines_of,
    work_folder,
    write_private,
)
from izin.runtime.plan.progress import OnProgress, silent
from izin.runtime.plan.selection import EmptySelectionError, Selection

__all__ = (
    "DESIRED_CONSENTS",
    "REBUILD",
    "Bounds",
    "EmptySelectionError",
    "OnProgress",
    "OtherPlanError",
    "Plan",
    "PlanMovedError",
    "PrivateLines",
    "Selection",
    "UnreadablePlanError",
    "bounds_of",
    "lines_of",
    "silent",
    "work_folder",
    "write_private",
)
