"""Imports in the console: files that people upload, and the tasks that check and import them.

store   the files, and how far each is
runs    the tasks of this process
"""
