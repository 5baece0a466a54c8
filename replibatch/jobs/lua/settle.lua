-- The one result of a generation.
-- call: id, process, fence, state, result (JSON text), cost (micro-dollars), capacity,
--       counts (what it adds to the counters, by field), asked (what an idempotency key stands for, or ''),
--       webhook (its owed call, JSON text, or '')
-- Returns {1, messages to publish, calls of the application's task to publish}; {0, {}, {}} where the caller has lost
-- custody.

-- A settled record is made anew, and small: one that has shrunk would keep the room of what it had.
local function keep_settled(id, record)
  local kept = { 'state', call.state, 'result', call.result, 'fence', record.fence }
  if call.asked ~= '' then
    kept[#kept + 1] = 'asked'
    kept[#kept + 1] = call.asked
  end
  local fields = { 'batch', 'followers', 'link' }
  if call.state ~= 'succeeded' then fields[#fields + 1] = 'request' end -- only what did not succeed is ever made again
  for _, field in ipairs(fields) do
    if (record[field] or '') ~= '' then
      kept[#kept + 1] = field
      kept[#kept + 1] = record[field]
    end
  end
  redis.call('DEL', record_key(id))
  redis.call('HSET', record_key(id), unpack(kept))
end

local record = read(call.id)
if not has(record) then
  -- This very step, already taken.
  return { record and record.result and tonumber(record.fence) == call.fence and 1 or 0, {}, {} }
end
release(call.id, record)
keep_settled(call.id, record)
if not record.batch and not record.followers then redis.call('PEXPIRE', record_key(call.id), whole(call.keep_ms)) end
count(call.counts)
redis.call('ZREM', key('asked'), call.id)
redis.call('LPUSH', key('latest'), call.id)
redis.call('LTRIM', key('latest'), 0, 23)
local messages, over = {}, { call.id }
if record.batch then
  over[#over + 1] = record.batch
  finish_in_batch(record.batch, record.index, call.id, call.state, call.cost - (tonumber(record.booked) or 0))
  messages = top_up(record.batch)
  expire_if_over(record.batch)
end
for follower, index in followers_of(record) do
  over[#over + 1] = follower
  finish_in_batch(follower, index, call.id, call.state, 0)
  for _, next_message in ipairs(top_up(follower)) do messages[#messages + 1] = next_message end
  expire_if_over(follower)
end
give_notice()
if call.webhook ~= '' then redis.call('ZADD', key('webhooks'), whole(now), call.webhook) end
redis.call('PUBLISH', key('over'), table.concat(over, ' '))
return { 1, messages, owe_call(call.id, record.link, call.result, now) }
