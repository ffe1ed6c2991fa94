"""The version, as packaging, ``initlab.__version__`` and every report read it."""

__version__ = "0.1.0"
