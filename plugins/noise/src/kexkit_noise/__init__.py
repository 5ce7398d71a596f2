"""Noise for kexkit: sessions as Waku's specifications 35 and 37 have them, and sessions that heal."""
