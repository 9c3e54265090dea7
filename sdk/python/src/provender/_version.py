"""The version of the package, and of the program in its wheels."""

__version__ = "0.1.0"
