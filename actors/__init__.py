"""The five actors: thin shells around engine.trading."""
