-- Takes a request that waits in its batch's list out of the line, into the caller's publishing custody, to be canceled.
-- call: batch, id, process
-- Returns 1; 0 where it does not wait there.

local meta, pending = key('batch', call.batch), key('batch', call.batch, 'pending')
for _, entry in ipairs(redis.call('LRANGE', pending, 0, -1)) do
  if string.sub(entry, 1, #call.id + 1) == call.id .. '\t' then
    local id, index, model, request = unpacked(call.batch, entry)
    local priority, budget = unpack(redis.call('HMGET', meta, 'priority', 'budget'))
    local begun = take_begun(call.batch, id)
    redis.call('LREM', pending, 1, entry)
    redis.call('HSET', record_key(id), 'v', VERSION, 'state', 'publishing', 'process', call.process, 'fence', whole(now),
      'attempt', begun.attempt or '1', 'model', begun.model or model, 'request', begun.request or request,
      'batch', call.batch, 'index', index, 'priority', priority)
    go_on_with(id, begun)
    if budget then redis.call('HSET', record_key(id), 'budget', budget) end
    redis.call('SADD', key('batch', call.batch, 'out'), id)
    redis.call('SADD', key('canceling'), id)
    add_to_custody(id, call.process)
    expect_message(id, priority)
    return 1
  end
end
return 0
