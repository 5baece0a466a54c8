-- Closes batches after a long silence of their submitter, forgets those that have expired, and
-- has the records of those that are over expire with them.
-- call: quiet_ms
-- Returns how many were closed. Should the submitter go on after all, appending opens the batch again.

local AT_ONCE = 20

local closed = 0
local quiet = redis.call('ZRANGEBYSCORE', key('batches', 'open'), '-inf', whole(now - call.quiet_ms), 'LIMIT', 0, AT_ONCE)
for _, batch in ipairs(quiet) do
  if redis.call('EXISTS', key('batch', batch)) == 1 then
    close(batch)
    closed = closed + 1
  else
    redis.call('ZREM', key('batches', 'open'), batch)
  end
end
for _, batch in ipairs(redis.call('ZRANGE', key('batches'), 0, AT_ONCE - 1)) do
  if redis.call('EXISTS', key('batch', batch)) == 0 then redis.call('ZREM', key('batches'), batch) end
end
for place, batch in ipairs(redis.call('HKEYS', key('batches', 'aging'))) do
  if place > AT_ONCE then break end
  age(batch)
end
return closed
