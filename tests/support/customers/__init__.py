"""How what is shown is cut to one customer."""
