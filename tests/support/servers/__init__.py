"""The servers that the tests of a run share."""
