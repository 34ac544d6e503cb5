"""Reconciliation: the reports of one day, their file, and its timestamp."""
