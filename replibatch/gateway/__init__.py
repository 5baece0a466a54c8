"""`replibatch serve`: Replicate's HTTP API in front of the queue. It holds no token of the account's."""
