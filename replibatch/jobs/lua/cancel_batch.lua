-- Requests that wait in a batch, or are still to come, will never start. Those on their way are to be canceled.
-- call: batch, forget (bool: another batch takes over: no list of the waiting requests is kept)
-- Returns how many requests waited.

local AT_ONCE = 1000 -- arguments of one command

local pending, dropped = key('batch', call.batch, 'pending'), key('batch', call.batch, 'dropped')
if redis.call('EXISTS', key('batch', call.batch)) == 0 then return 0 end
redis.call('HSET', key('batch', call.batch), 'canceled_at', whole(now))
if not call.forget then -- all at once, lest the slot of one goes to the next
  redis.call('SUNIONSTORE', key('canceling'), key('canceling'), key('batch', call.batch, 'out'))
end
local waiting = redis.call('LLEN', pending)
if waiting > 0 then
  if call.forget then
    redis.call('DEL', pending)
  elseif redis.call('EXISTS', dropped) == 0 then
    redis.call('RENAME', pending, dropped)
  else
    local entries = redis.call('LRANGE', pending, 0, -1)
    for first = 1, waiting, AT_ONCE do
      redis.call('RPUSH', dropped, unpack(entries, first, math.min(first + AT_ONCE - 1, waiting)))
    end
    redis.call('DEL', pending)
  end
  redis.call('HINCRBY', key('batch', call.batch), 'canceled', waiting)
end
redis.call('SREM', key('batches', 'feeding'), call.batch)
expire_if_over(call.batch)
return waiting
