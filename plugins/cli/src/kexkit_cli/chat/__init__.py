"""Talking line by line: an editor without I/O, screens for terminals, pipes and programs, and what joins them."""
