-- Messages are in the queue now, and out of custody. call: process, ids
-- Returns 1. What a task has taken already stays as it is.

for _, id in ipairs(call.ids) do
  local owner = redis.call('HMGET', record_key(id), 'state', 'process', 'priority')
  if owner[1] == 'publishing' and owner[2] == call.process then
    redis.call('HSET', record_key(id), 'state', 'queued', 'process', '')
    redis.call('SREM', custody_key(call.process), id)
    expect_message(id, owner[3])
  end
end
return 1
