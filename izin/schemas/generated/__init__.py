"""Modules that ``make docs`` writes from the contracts; changes made here are lost."""
