"""The registry of customers, brands and keys."""
