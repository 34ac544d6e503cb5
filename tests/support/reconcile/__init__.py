"""Installations whose sides agree, until differences are planted in them."""
