"""Is a network read correctly? A differential test over all architecture families of timm.

One small network of each family is built with random weights, and what seewhy says of it is
compared with the network itself: with finite differences, with its answer to single pictures, and
with the sums that the methods promise. `python -m benchmarks.networks` runs all of it and writes
docs/networks.md.
"""
