"""Figures of what İYS reports to us."""
