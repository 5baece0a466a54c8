-- What waits in a batch will never start. call: batch, keep_ms
-- Returns how many requests that were.

local pending, dropped = key('batch', call.batch, 'pending'), key('batch', call.batch, 'dropped')
local waiting = redis.call('LLEN', pending)
if waiting > 0 then
  if redis.call('EXISTS', dropped) == 0 then
    redis.call('RENAME', pending, dropped)
  else
    for _, entry in ipairs(redis.call('LRANGE', pending, 0, -1)) do redis.call('RPUSH', dropped, entry) end
    redis.call('DEL', pending)
  end
  redis.call('HINCRBY', key('batch', call.batch), 'canceled', waiting)
end
redis.call('SREM', key('batches', 'feeding'), call.batch)
expire_if_over(call.batch, call.keep_ms)
return waiting
