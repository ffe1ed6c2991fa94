"""Settings that have to stand before a framework is imported, for tests and docstrings alike."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # its default, TensorFlow, is not needed
os.environ.setdefault("JAX_PLATFORMS", "cpu")
