"""The one meta-training loop, its runs and its checkpoints."""
