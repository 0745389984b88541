"""`python -m fastreg` is the command line."""

from fastreg.cli import main

main()
