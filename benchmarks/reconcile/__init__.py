"""How long a brand takes whose sides all agree."""
