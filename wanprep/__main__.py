"""`python -m wanprep` is the command line."""

from wanprep.cli import main

if __name__ == "__main__":
    main()
