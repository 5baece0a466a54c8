-- A batch begins. call: batch, max_concurrent (or -1), priority, budget ('' for its own), about (JSON text, for people),
-- follower (the process that follows it, '' for none, '-' where that does not matter)
-- Returns 1; 0 where it is there already.

local meta = key('batch', call.batch)
if redis.call('EXISTS', meta) == 1 then return 0 end
redis.call('HSET', meta, 'v', VERSION, 'total', '0', 'created', whole(now), 'priority', whole(call.priority), 'about', call.about)
if call.follower ~= '-' then redis.call('HSET', meta, 'follower', call.follower) end
if call.max_concurrent > 0 then redis.call('HSET', meta, 'max_concurrent', whole(call.max_concurrent)) end
if call.budget ~= '' then
  redis.call('HSET', meta, 'budget', call.budget)
  redis.call('SADD', key('budget', call.budget, 'batches'), call.batch)
end
redis.call('ZADD', key('batches'), whole(now), call.batch)
redis.call('ZADD', key('batches', 'open'), whole(now), call.batch)
return 1
