"""Serving of SynFundus: the generation and diagnosis endpoints (not built yet; docs/architecture names the room)."""
