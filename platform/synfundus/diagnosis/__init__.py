"""The annotator: network, training, calibration, external annotators, and the filling of unknown labels."""
