"""The service's part in the process of Ray Serve's HTTP proxy: limits of connections, errors as problems, draining."""
