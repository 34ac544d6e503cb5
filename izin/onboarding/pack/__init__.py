"""The application pack: what İYS asks of a customer before its first loading.

counts      addresses and consents by brand       packages   İYS's message packages
checklist   what is given, and what is missing    page, sheet  the pack to print and to edit
"""
