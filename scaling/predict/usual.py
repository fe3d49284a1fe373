"""What a model and its training are taken to be where nothing else is said."""

VOCABULARY = 32_000
"""Tokens of Llama and Llama 2, and near those of most published laws."""

CONTEXT = 2048
"""Tokens of a training sequence, and of the cache."""

TOKENS_PER_PARAMETER = 20
"""D by N, all parameters counted.

Source: Hoffmann et al. 2022, arXiv 2203.15556, whose compute-optimal models read about so many.
"""
