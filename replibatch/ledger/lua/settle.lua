-- The one result of a generation.
-- call: id, process, fence, state, result (JSON text), cost (micro-dollars), capacity,
--       counts (what it adds to the counters, by field)
-- Returns {1, messages to publish, calls of the application's task to publish}; {0, {}, {}} where the caller has lost
-- custody.

local record = read(call.id)
if not has(record) then
  -- This very step, already taken.
  return { record and record.result and tonumber(record.fence) == call.fence and 1 or 0, {}, {} }
end
release(call.id, record)
redis.call('HDEL', record_key(call.id), 'process', 'taker', 'taken', 'catalog', 'attempts', 'booked', 'paid', 'pause',
  'priority', 'purse', 'sent')
-- Only what did not succeed is ever made again.
if call.state == 'succeeded' then redis.call('HDEL', record_key(call.id), 'request') end
redis.call('HSET', record_key(call.id), 'state', call.state, 'result', call.result)
if not record.batch and not record.followers then redis.call('PEXPIRE', record_key(call.id), whole(call.keep_ms)) end
count(call.counts)
redis.call('ZREM', key('asked'), call.id)
redis.call('LPUSH', key('latest'), call.id)
redis.call('LTRIM', key('latest'), 0, 23)
local messages = {}
if record.batch then
  finish_in_batch(record.batch, record.index, call.id, call.state, call.cost - (tonumber(record.booked) or 0))
  messages = top_up(record.batch)
  expire_if_over(record.batch)
end
for follower, index in string.gmatch(record.followers or '', '([^/ ]+)/(%d+)') do
  finish_in_batch(follower, index, call.id, call.state, 0)
  for _, next_message in ipairs(top_up(follower)) do messages[#messages + 1] = next_message end
  expire_if_over(follower)
end
redis.call('RPUSH', key('done', call.id), '1')
redis.call('PEXPIRE', key('done', call.id), '60000')
return { 1, messages, owe_call(call.id, record.link, call.result, now) }
