"""`python -m kexkit_transport_relay`, for a machine that has no need of the command."""

import sys

from kexkit.errors import KexkitError

from kexkit_transport_relay.command import FAILURE, relay

if __name__ == "__main__":
    try:
        relay(prog_name="kexkit relay")
    except KexkitError as error:
        sys.stderr.write(f"kexkit relay: {error}\n")
        sys.exit(FAILURE)
