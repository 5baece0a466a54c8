-- Holds a batch (nothing new starts) or lets it go on. call: batch, held ('' to go on), process, capacity
-- Returns the messages to publish.

local meta = key('batch', call.batch)
if redis.call('EXISTS', meta) == 0 then return {} end
if call.held == '' then let_go_on(call.batch) else redis.call('HSET', meta, 'held', call.held) end
expire_if_over(call.batch)
return top_up(call.batch)
