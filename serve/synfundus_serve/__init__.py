"""Serving of SynFundus on Ray Serve: the generation and the diagnosis endpoint behind one gateway."""
