"""Fast copies of the fold, and the generated histories that hold each equal to it."""
