-- Somebody wants a generation canceled. call: id
-- One that is over meanwhile is not: the wish would wait for whoever has the same id made again, days later.

local record = read(call.id)
if not record or record.result then return 0 end
redis.call('SADD', key('canceling'), call.id)
return 1
