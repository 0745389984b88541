"""The swarm as Locust plays it: its options, the steps of a run, the users, the results."""
