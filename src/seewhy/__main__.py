"""`python -m seewhy`: the command line."""

from seewhy.cli import main

main()
