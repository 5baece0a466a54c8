-- Feeds a batch. call: batch, process, capacity. Returns the messages to publish.
return top_up(call.batch)
