"""`python -m custom_networks` is `liverseg`."""

import sys

from custom_networks.cli import main

sys.exit(main())
