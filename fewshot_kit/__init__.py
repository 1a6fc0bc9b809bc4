"""Few-shot learning to look at: data, models, one inner loop and the algorithms, for notebooks and for the command line."""

__version__ = "0.1.0"
