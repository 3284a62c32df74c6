"""Twofold: convolution and its transpose, computed fast, computed exactly, and shown."""

__version__ = "0.1.0"
