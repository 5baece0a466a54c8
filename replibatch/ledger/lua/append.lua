-- More requests for a batch. call: batch, offset (how many it had before), entries (list of pending entries),
-- catalog (object: model -> JSON text), process, capacity
-- Returns the messages to publish. A chunk that was appended already is not appended again.

local meta = key('batch', call.batch)
for model, entry in pairs(call.catalog) do redis.call('HSETNX', meta, 'model:' .. model, entry) end
if tonumber(redis.call('HGET', meta, 'total')) == call.offset then
  for _, entry in ipairs(call.entries) do redis.call('RPUSH', key('batch', call.batch, 'pending'), entry) end
  redis.call('HINCRBY', meta, 'total', #call.entries)
end
return top_up(call.batch)
