-- A record of the caller's custody as it is now. call: id, process
-- Returns it as a flat list; an empty one where another process has it, or it is over.

local record = read(call.id)
return record and record.process == call.process and flat_record(call.id) or {}
