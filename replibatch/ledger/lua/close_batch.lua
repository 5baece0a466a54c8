-- No more requests will be appended. call: batch
close(call.batch)
return 1
