"""What tests of the sweep share."""
