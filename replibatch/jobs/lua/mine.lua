-- A record of the caller's custody as it is now. call: id, process
-- Returns it as a flat list; an empty one where it is somebody else's, or over.

local record = read(call.id)
return record and record.process == call.process and told(call.id) or {}
