"""The only part of core that awaits: it answers the engine's requests, commits, and only then lets anything leave."""
