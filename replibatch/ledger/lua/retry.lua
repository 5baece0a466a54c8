-- Makes again what has its result and is no success. call: batch, ids, process, capacity, keep_ms
-- Returns the messages to publish.

for _, id in ipairs(call.ids) do
  local record = read(id)
  if record and record.batch == call.batch and record.result and record.state ~= 'succeeded' then
    redis.call('HINCRBY', key('batch', call.batch), record.state, -1)
    redis.call('LPUSH', key('batch', call.batch, 'pending'),
      table.concat({ id, record.index, cjson.decode(record.request).model, record.request }, '\t'))
    clear(id, record)
  end
end
redis.call('HSET', key('batch', call.batch), 'held', '')
expire_if_over(call.batch, call.keep_ms)
return top_up(call.batch)
