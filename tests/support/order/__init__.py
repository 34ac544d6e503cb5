"""What the tests of the order stage share: input, processes, and what must have been written."""
