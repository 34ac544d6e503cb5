"""Queries of the status that İYS has of a consent, and what their answers mean."""
