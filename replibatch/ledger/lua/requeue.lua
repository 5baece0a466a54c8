-- A generation in the caller's custody that no thread of it works on goes back to the queue's head, as it is.
-- call: id, process, fence. Returns its message, or an empty list.

local record = read(call.id)
if not record or record.process ~= call.process or tonumber(record.fence) ~= call.fence then return {} end
publish_at_head(call.id, record)
return message(call.id, record)
