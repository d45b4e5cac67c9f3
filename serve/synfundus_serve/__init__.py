"""Endpoints on Ray Serve: one gateway, and behind it the generation and the diagnosis deployment."""
