"""What runs in the process of Ray Serve's HTTP proxy: limits of connections, problem documents, draining."""
