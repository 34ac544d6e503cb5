"""Tests of what earlier releases wrote."""
