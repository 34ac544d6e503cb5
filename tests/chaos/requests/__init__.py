"""Hostile requests to each API, beside the lawful requests of a neighbour."""
