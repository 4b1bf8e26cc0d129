"""Reading what others publish about provider prices: candidates for the catalogue, never the catalogue itself."""
