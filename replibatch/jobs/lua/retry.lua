-- Makes again the results without success, and the requests dropped before they started.
-- call: batch, finished (list of {mark in the stream, id, index}), dropped (how many, at most), process
-- Returns {how many are made again, how many are left in the list of the dropped}. The batch is to be fed.

local meta = key('batch', call.batch)
local pending, dropped = key('batch', call.batch, 'pending'), key('batch', call.batch, 'dropped')
if redis.call('EXISTS', meta) == 0 then return { 0, 0 } end
local again = 0
redis.call('HDEL', meta, 'canceled_at')
for _, item in ipairs(call.finished) do
  local mark, id, index = unpack(item)
  local record = read(id)
  -- The mark goes first, so that a repeated call finds nothing to do.
  if record and record.result and record.state ~= 'succeeded'
    and redis.call('XDEL', key('batch', call.batch, 'finished'), mark) == 1 then
    redis.call('HINCRBY', meta, record.state, -1)
    redis.call('RPUSH', pending, whole_entry(id, whole(index), record.request))
    local begun = where_to_go_on(record)
    if begun then
      begun.request = nil
      redis.call('HSET', key('batch', call.batch, 'begun'), id, cjson.encode(begun))
    end
    clear_settled(id, record)
    again = again + 1
  end
end
local entries = redis.call('LRANGE', dropped, 0, call.dropped - 1)
if #entries > 0 then
  redis.call('RPUSH', pending, unpack(entries))
  redis.call('LTRIM', dropped, #entries, -1)
  redis.call('HINCRBY', meta, 'canceled', whole(-#entries))
  again = again + #entries
end
if again > 0 then
  let_go_on(call.batch)
  redis.call('SADD', key('batches', 'feeding'), call.batch)
end
expire_if_over(call.batch)
return { again, redis.call('LLEN', dropped) }
