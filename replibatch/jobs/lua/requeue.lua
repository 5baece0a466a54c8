-- A generation in the caller's custody, without a thread that works on it, goes back to the queue's head unchanged.
-- call: id, process, fence, paid (what its prediction has cost, micro-dollars; 0 before it has ended)
-- Returns its message, or an empty list.

local record = read(call.id)
if not record or record.process ~= call.process or tonumber(record.fence) ~= call.fence then return {} end
if call.paid > 0 then redis.call('HSET', record_key(call.id), 'paid', whole(call.paid)) end
publish_at_head(call.id, record)
return message(call.id, record)
