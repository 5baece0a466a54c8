-- A generation that cannot go on now goes back to the head of its batch, which is held for the reason given; its next
-- attempt is the one it was at.
-- call: id, process, fence, held
-- Returns 1; 0 where the caller has lost custody.

local record = read(call.id)
if not has(record) then return 0 end
local attempts, begun = cjson.decode(record.attempts or '[]'), nil
local made = cost_of_steps_made(record.request)
local cost = cost_of(attempts) + (made or 0)
release(call.id, record)
redis.call('SREM', key('batch', record.batch, 'out'), call.id)
clear(call.id, attempts)
if #attempts > 0 or made then -- their cost is spent in any case
  redis.call('HINCRBY', key('batch', record.batch), 'cost', whole(cost - (tonumber(record.booked) or 0)))
  begun = cjson.encode({
    attempt = record.attempt, model = record.model, attempts = record.attempts, booked = whole(cost),
    counted = record.counted,
  })
  redis.call('HSET', key('batch', record.batch, 'begun'), call.id, begun)
end
back_to_pending(record.batch, whole_entry(call.id, record.index, record.request))
-- A batch that follows it is not held: it gets it back as its own.
for follower, index in followers_of(record) do
  redis.call('SREM', key('batch', follower, 'out'), call.id)
  if begun then redis.call('HSET', key('batch', follower, 'begun'), call.id, begun) end
  back_to_pending(follower, whole_entry(call.id, index, record.request))
  redis.call('SADD', key('batches', 'feeding'), follower)
end
-- Nor is one that was let go on since the task began: what it found by then holds no more.
local let_go_at = redis.call('HGET', key('batch', record.batch), 'let_go_at')
if let_go_at and (tonumber(record.taken) or 0) <= tonumber(let_go_at) then
  redis.call('SADD', key('batches', 'feeding'), record.batch)
else
  redis.call('HSET', key('batch', record.batch), 'held', call.held)
  redis.call('SREM', key('batches', 'feeding'), record.batch)
end
return 1
