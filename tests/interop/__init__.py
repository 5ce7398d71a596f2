"""kexkit's encryption layer in front of another implementation of it."""
