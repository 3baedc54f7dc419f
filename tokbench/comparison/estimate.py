from tokbench.estimates import *  # noqa: F403
