"""Two peers, a relay and a story."""
