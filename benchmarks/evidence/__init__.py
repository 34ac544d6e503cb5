"""Benchmarks of the verification of evidence."""
