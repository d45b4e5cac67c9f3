"""Evaluation: fidelity, diversity, consistency and privacy of samples against real photographs, and the report."""
