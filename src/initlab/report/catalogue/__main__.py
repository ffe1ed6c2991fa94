"""``python -m initlab.report.catalogue docs``: write the pages of the catalogue anew."""

from __future__ import annotations

import sys
from pathlib import Path

from initlab.report.catalogue.pages import COMMAND, write


def main(arguments: list[str]) -> int:
    """Write the pages into a folder and print those that changed; returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write(f"expected one folder: {COMMAND}\n")
        return 2
    for path in write(Path(arguments[0])):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
