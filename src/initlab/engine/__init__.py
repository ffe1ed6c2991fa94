"""Training of small fully-connected networks: a readable reference and compiled kernels."""
