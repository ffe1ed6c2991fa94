"""Models with a fault, and models that look like them and are fine: one file a check.

Each file is called after its check, and holds ``CASES``.
"""
