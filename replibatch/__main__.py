"""`python -m replibatch`."""

from replibatch.cli import main

if __name__ == "__main__":
    main()
