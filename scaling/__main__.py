"""`python -m scaling` is the command line."""

from scaling.cli import main

main()
