"""Run the command line: `python -m songfoundry` is the same as `songfoundry`."""

from songfoundry.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
