"""The HTTP server that the status page and the metrics share: access, limits on clients, read-only pages."""
