"""`python -m kexkit_transport_relay` is `kexkit relay`."""

from kexkit_transport_relay.command import relay

relay(prog_name="kexkit relay")
