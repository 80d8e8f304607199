"""`python -m pentimento` is the command line."""

from pentimento.cli import main

main()
