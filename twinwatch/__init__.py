"""A pair of watchers that guard each other, and your processes."""

__version__ = "0.1.0"
