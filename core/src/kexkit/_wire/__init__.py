"""Codecs: the one place where bytes of the network become values, and values bytes. Pure functions, bounded, total.

A decoder given any bytes returns a value or raises a Refusal (`Malformed`, `Limit`, `Forged` or a subclass). An encoder
given values that cannot be written raises `InvalidInput`: then the fault is ours.
"""
