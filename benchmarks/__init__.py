"""Side by side with peers: the same work, in the same process, as ratios.

    python -m benchmarks                 # a table
    python -m benchmarks --json FILE     # and the figures

Each case runs ours and the peer's in turn, so that a drifting machine drifts for both; the
ratio is the median of the pairs. Before it is timed, a case checks that both sides give the
same maps, where their definitions agree.
"""
