"""Roles as containers on a Docker Engine. Only `sdk.py` imports the Docker SDK."""
