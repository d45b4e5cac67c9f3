"""The plan, the sampling of its shards, the rule for rejected samples, and releases with card and Croissant file."""
