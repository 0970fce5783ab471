"""Not RLBench: see README.md beside this package."""

__version__ = "0.stand-in"
