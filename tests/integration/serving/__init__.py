"""The endpoints on a real Ray Serve, with the models of a study that was run whole; requests over HTTP.

The endpoints start once for all files of this package: that is why it is one.
"""
