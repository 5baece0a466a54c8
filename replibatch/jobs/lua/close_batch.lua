-- No more requests will be appended. call: batch. Returns 1.
close(call.batch)
return 1
