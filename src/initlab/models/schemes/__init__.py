"""What a catalogue name means for a whole model, where it is more than one draw for every weight.

A scheme reads branches, attentions, gates and the order of layers from the facts. What the user
gives in the text wins over the facts; an argument that is about one weight, such as
``gpt2(residual=True)``, is taken for every weight that the rule is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from initlab.models.schemes._common import Scheme
from initlab.models.schemes.ends import embedding_scheme, prior_bias_scheme
from initlab.models.schemes.feedforward import random_walk_scheme, siren_scheme
from initlab.models.schemes.mimetic import mimetic_scheme
from initlab.models.schemes.recurrent import (
    forget_bias_scheme,
    gate_orthogonal_scheme,
    irnn_scheme,
)
from initlab.models.schemes.residual import (
    fixup_scheme,
    rezero_scheme,
    skipinit_scheme,
    zero_gamma_scheme,
    zero_hadamard_scheme,
)
from initlab.models.schemes.transformer import (
    deepnorm_scheme,
    depth_scaled_scheme,
    gpt2_scheme,
    t_fixup_scheme,
)
from initlab.models.schemes.width import mup_learning_rates, mup_scheme

SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "fixup": fixup_scheme,
        "t_fixup": t_fixup_scheme,
        "rezero": rezero_scheme,
        "skipinit": skipinit_scheme,
        "zero_gamma": zero_gamma_scheme,
        "deepnorm": deepnorm_scheme,
        "gpt2": gpt2_scheme,
        "depth_scaled": depth_scaled_scheme,
        "mup": mup_scheme,
        "zero_hadamard": zero_hadamard_scheme,
        "mimetic": mimetic_scheme,
        "siren": siren_scheme,
        "irnn": irnn_scheme,
        "forget_bias": forget_bias_scheme,
        "gate_orthogonal": gate_orthogonal_scheme,
        "embedding": embedding_scheme,
        "tied_embedding": embedding_scheme,
        "prior_bias": prior_bias_scheme,
        "random_walk": random_walk_scheme,
    }
)
"""By catalogue name; every other name is drawn as :func:`initlab.models.plain.plain` does."""

__all__ = ["SCHEMES", "Scheme", "mup_learning_rates"]
