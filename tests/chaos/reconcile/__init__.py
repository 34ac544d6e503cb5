"""Differences planted at random, found, named and repaired."""
