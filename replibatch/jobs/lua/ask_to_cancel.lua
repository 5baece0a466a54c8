-- Asks for a generation to be canceled. call: id
-- Ignored for one that is over: the request would hit the same id when it is made again, days later.

local record = read(call.id)
if not record or record.result then return 0 end
redis.call('SADD', key('canceling'), call.id)
return 1
