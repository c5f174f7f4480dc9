"""`python -m twinwatch`."""

import sys

from twinwatch.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
