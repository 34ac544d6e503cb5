"""Automatic suspension: more opt-outs of one source than a customer allows wait for a person before
they are registered at İYS.

A mistake of a CRM is final there: an opt-out (RET) is not taken back. So registering waits, and
nothing else does: subscribers, gate and permissions have the opt-outs at once.
"""
