"""Recordings of other programs, replayed. `pytest tests/vectors --vectors DIR` replays those of another folder."""
