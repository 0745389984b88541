"""Sockets and processes; knows a WSGI callable and nothing of registries."""
