-- A generation that cannot start now goes back to the head of its batch, which is held for the reason given.
-- call: id, process, fence, held
-- Returns 1; 0 where the caller has lost custody.

local record = read(call.id)
if not has(record) then return 0 end
release(call.id, record)
local first_model = cjson.decode(record.request).model
redis.call('SREM', key('batch', record.batch, 'out'), call.id)
redis.call('LPUSH', key('batch', record.batch, 'pending'),
  table.concat({ call.id, record.index, first_model, record.request }, '\t'))
redis.call('DEL', record_key(call.id))
-- A batch that follows it is not held: it gets it back as its own.
for follower, index in string.gmatch(record.followers or '', '([^/ ]+)/(%d+)') do
  redis.call('SREM', key('batch', follower, 'out'), call.id)
  redis.call('LPUSH', key('batch', follower, 'pending'),
    table.concat({ call.id, index, first_model, record.request }, '\t'))
  redis.call('SADD', key('batches', 'feeding'), follower)
end
redis.call('HSET', key('batch', record.batch), 'held', call.held)
redis.call('SREM', key('batches', 'feeding'), record.batch)
return 1
