"""`twofold` and `python -m twofold`: the command line."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit code: 0, 2 for what is refused, 130 for an interrupt."""
    try:
        from twofold.cli.run import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while the command line itself was being loaded
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
