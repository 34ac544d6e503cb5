"""What is compared and repaired, with real servers."""
