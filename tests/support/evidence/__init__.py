"""Evidence under test."""
