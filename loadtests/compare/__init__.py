"""The swarm's pulls from fastreg and from other registries, compared."""
