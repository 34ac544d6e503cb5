"""Hostile records on the lanes, beside the opt-outs (RET) of others."""
