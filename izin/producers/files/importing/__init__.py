"""An import in progress: its rows, its journal, its report, and what it may not reverse.

run        takes the rows of a file: each is published, or reported, and counted
journal    how far it is, so that a repetition goes on there
judgement  one consent of a row as the law finds it, and the opt-ins that would reverse an opt-out
report     the counts, and the rows that need correction
"""
