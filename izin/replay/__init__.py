"""Replay: play history again without harm, from a plan that is checked before it is executed.

Three kinds: a *rebuild* computes what should stand and compares it with what does, a *re-emission*
repeats messages to named subscribers, a *what-if* decides history under another setting. Nothing
here calls İYS. Dead letters that come back are in ``letters``: the order stage decides them anew.
"""
