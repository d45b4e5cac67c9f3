"""Command line and jobs of SynFundus: one verb per file, each launched by name."""
