"""A Docker swarm of real daemons on one machine, and how soon it runs what a registry has."""
