"""The application pack: what İYS asks of a customer before its first loading.

application   counts by brand, the checklist, and what is missing
page          the pack to print and to edit
"""
