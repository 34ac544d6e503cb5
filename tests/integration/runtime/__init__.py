"""The clients of every process, on real servers."""
