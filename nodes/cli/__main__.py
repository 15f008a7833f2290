"""`python -m nodes.cli`: the `fabric` command out of a checkout."""

from nodes.cli.main import main

main()
