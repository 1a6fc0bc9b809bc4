"""Few-shot learning to look at: data, networks, learners, one fine-tune loop, and the panels of the notebooks."""

import os

__version__ = "0.1.0"

# torch on Linux reads this when it first allocates, and asks for large pages: much of the time of large activations is the kernel handing
# out small ones.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
