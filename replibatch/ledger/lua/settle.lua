-- The one result of a generation.
-- call: id, process, fence, state, result (JSON text), cost (micro-dollars), keep_ms, capacity
-- Returns {1, messages to publish}; {0, {}} where the caller has lost custody.

local record = read(call.id)
if not has(record) then
  -- This very step, already taken.
  return { record and record.result and tonumber(record.fence) == call.fence and 1 or 0, {} }
end
release(call.id, record)
redis.call('HDEL', record_key(call.id), 'process', 'taker', 'catalog', 'attempts', 'pause', 'priority', 'followers')
redis.call('HSET', record_key(call.id), 'state', call.state, 'result', call.result)
redis.call('PEXPIRE', record_key(call.id), whole(call.keep_ms))
local messages = {}
if record.batch then
  finish_in_batch(record.batch, record.index, call.id, call.state, call.cost)
  messages = top_up(record.batch)
  expire_if_over(record.batch, call.keep_ms)
end
for follower, index in string.gmatch(record.followers or '', '([^/ ]+)/(%d+)') do
  finish_in_batch(follower, index, call.id, call.state, 0)
  for _, next_message in ipairs(top_up(follower)) do messages[#messages + 1] = next_message end
  expire_if_over(follower, call.keep_ms)
end
redis.call('RPUSH', key('done', call.id), '1')
redis.call('PEXPIRE', key('done', call.id), '60000')
return { 1, messages }
