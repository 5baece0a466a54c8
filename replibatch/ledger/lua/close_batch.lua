-- No more requests will be appended. call: batch, keep_ms
redis.call('HSET', key('batch', call.batch), 'closed', '1')
expire_if_over(call.batch, call.keep_ms)
return 1
