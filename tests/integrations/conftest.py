"""What the tests of the adapters share: every framework on the processor, Keras on JAX."""

from __future__ import annotations

import os

# Read when the frameworks are imported; Keras would take TensorFlow.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
