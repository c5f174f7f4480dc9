"""Faults done to a living pair on purpose, and what is seen of it from outside."""
