-- More requests for a batch. call: batch, offset (how many it had before), entries (list of pending entries),
-- catalog (object: model -> JSON text), shapes (object: n -> JSON text), process, capacity
-- Returns the messages to publish. A chunk that was appended already is not appended again.

local meta = key('batch', call.batch)
for model, entry in pairs(call.catalog) do redis.call('HSETNX', meta, 'model:' .. model, entry) end
for number, shape in pairs(call.shapes) do redis.call('HSETNX', meta, 'shape:' .. number, shape) end
if tonumber(redis.call('HGET', meta, 'total')) == call.offset and #call.entries > 0 then
  -- It may have been canceled while more requests were on the way.
  local canceled = redis.call('HEXISTS', meta, 'canceled_at') == 1
  redis.call('RPUSH', key('batch', call.batch, canceled and 'dropped' or 'pending'), unpack(call.entries))
  if canceled then redis.call('HINCRBY', meta, 'canceled', #call.entries) end
  redis.call('HINCRBY', meta, 'total', #call.entries)
end
redis.call('HDEL', meta, 'closed')
redis.call('ZADD', key('batches', 'open'), whole(now), call.batch)
expire_if_over(call.batch)
return top_up(call.batch)
