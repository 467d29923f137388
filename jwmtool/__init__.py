"""jwm: an open joint world model for autonomous driving."""

__version__ = "0.1.0"
