"""How fast kexkit is, as ratios to its neighbours measured in one process. See README.md; run `python -m bench`."""
