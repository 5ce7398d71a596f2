"""`python -m kexkit_cli` is `kexkit`."""

import sys

from kexkit_cli import main

sys.exit(main())
