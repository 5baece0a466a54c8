-- A create is about to be sent: what it will be recognised by is in the record before it is.
-- call: id, process, fence, sent (the fingerprint of its inputs), paused (why a batch is held that its owner has paused)
-- Returns ok; or why nothing must be sent: lost (custody is another's), canceled, or paused: a generation that has begun goes on
-- to its end, over all its attempts; the next step does not begin.

local record = read(call.id)
if not has(record) then return 'lost' end
if redis.call('SISMEMBER', key('canceling'), call.id) == 1 then return 'canceled' end
-- As long as nothing was created of its step it has not begun, whatever was refused.
local begins = not string.find(record.attempts or '', '"prediction_id":"', 1, true)
if record.batch and begins
  and redis.call('HGET', key('batch', record.batch), 'held') == call.paused then
  return 'paused'
end
redis.call('HSET', record_key(call.id), 'sent', call.sent, 'sent_at', whole(now))
return 'ok'
