-- What waits in a batch, or is still to come, will never start. call: batch, forget (bool: not even their list is kept)
-- Returns how many requests waited.

local pending, dropped = key('batch', call.batch, 'pending'), key('batch', call.batch, 'dropped')
if redis.call('EXISTS', key('batch', call.batch)) == 0 then return 0 end
redis.call('HSET', key('batch', call.batch), 'canceled_at', whole(now))
local waiting = redis.call('LLEN', pending)
if waiting > 0 then
  if call.forget then
    redis.call('DEL', pending)
  elseif redis.call('EXISTS', dropped) == 0 then
    redis.call('RENAME', pending, dropped)
  else
    for _, entry in ipairs(redis.call('LRANGE', pending, 0, -1)) do redis.call('RPUSH', dropped, entry) end
    redis.call('DEL', pending)
  end
  redis.call('HINCRBY', key('batch', call.batch), 'canceled', waiting)
end
redis.call('SREM', key('batches', 'feeding'), call.batch)
expire_if_over(call.batch)
return waiting
