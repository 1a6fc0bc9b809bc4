"""The algorithms, one file each, on one contract (base.py) and one inner loop (fine_tune.py)."""
