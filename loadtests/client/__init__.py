"""A registry's client that behaves as a Docker host does, for load tests.

Plain threads and sockets: under gevent's monkey patching they are greenlets.
"""
