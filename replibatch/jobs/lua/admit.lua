-- One more request for a batch that requests are added to one by one, in any process; it begins with the first.
-- call: batch, id, request (JSON text), catalog (object: model -> JSON text), max_concurrent, priority, budget ('' for its
--       own), about (JSON text, for people), process, capacity
-- Returns the messages to publish. A request that waits, or has a record, is not added again.

local meta, pending = key('batch', call.batch), key('batch', call.batch, 'pending')
if redis.call('EXISTS', meta) == 0 then
  redis.call('HSET', meta, 'v', VERSION, 'total', '0', 'created', whole(now), 'about', call.about)
  if call.budget ~= '' then
    redis.call('HSET', meta, 'budget', call.budget)
    redis.call('SADD', key('budget', call.budget, 'batches'), call.batch)
  end
  redis.call('ZADD', key('batches'), whole(now), call.batch)
end
redis.call('HSET', meta, 'max_concurrent', whole(call.max_concurrent), 'priority', whole(call.priority))
for model, entry in pairs(call.catalog) do redis.call('HSET', meta, 'model:' .. model, entry) end
local entry = whole_entry(call.id, redis.call('HGET', meta, 'total'), call.request)
local known = redis.call('EXISTS', record_key(call.id)) == 1
for _, waiting in ipairs(known and {} or redis.call('LRANGE', pending, 0, -1)) do
  known = known or string.sub(waiting, 1, #call.id + 1) == call.id .. '\t'
end
if not known then
  redis.call('RPUSH', pending, entry)
  redis.call('HINCRBY', meta, 'total', 1)
end
redis.call('HDEL', meta, 'closed')
redis.call('ZADD', key('batches', 'open'), whole(now), call.batch)
expire_if_over(call.batch)
return top_up(call.batch)
