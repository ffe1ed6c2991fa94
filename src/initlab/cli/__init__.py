"""The command line: parse, call, render, and nothing else."""

from __future__ import annotations

from initlab.cli.app import main

__all__ = ["main"]
