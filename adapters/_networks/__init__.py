"""Networks of third-party tokenizers: torch modules whose parameters have the official names.

Written anew from the published descriptions and code, so that official checkpoints load as they are. Apart from the
``*_config`` modules they import torch, so an adapter imports them when it loads a tokenizer and no sooner.
"""
