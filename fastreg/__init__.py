"""fastreg: a Docker/OCI registry for one strong machine that feeds a swarm of hosts."""
