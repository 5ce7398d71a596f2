"""The sans-I/O heart: generators that ask for rows and return one Outcome. Start with `engine.py`."""
