"""Inputs that nothing may stumble over, made from a seed."""
