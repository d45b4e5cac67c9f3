"""Phantoms: fundus images rendered from labels, without a model and without a photograph."""
