"""A light client: the headers of a DAG, checked, kept on disk, and in step with several peers."""
