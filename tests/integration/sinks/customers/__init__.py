"""What is a customer's: its cut of everything, its rights, and its end."""
