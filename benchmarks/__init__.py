"""Compare the speed of seewhy with other libraries: same work, same process.

    python -m benchmarks                 # a table
    python -m benchmarks --json FILE     # and the measurements

Each case alternates between ours and the peer's call, so that changes in machine speed affect both;
the ratio is the median over the pairs. Before it is timed, a case checks that both sides give the
same maps, if their definitions agree.
"""
