"""What all tests share: how hypothesis draws its examples."""

from __future__ import annotations

from hypothesis import settings

# No deadline: a slow machine is no failure. The same examples in every run, so that a change alone
# turns a check red; `pytest --hypothesis-profile explore` draws new ones, and more.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("steady")
