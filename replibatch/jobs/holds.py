"""Why nothing new of a batch is started."""

PAUSED = "paused"  # its owner wants it so
BUDGET = "budget"  # its next request would exceed one
STOPPED = "stopped: "  # the account is, as `AccountStopped.told` goes on to say
