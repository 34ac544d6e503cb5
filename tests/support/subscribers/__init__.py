"""Support for the tests of the subscriber library."""
