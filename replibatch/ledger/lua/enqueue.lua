-- A single job enters, in the caller's publishing custody.
-- call: id, process, model, priority, request (JSON text), catalog (JSON text), link ('' or a task's name)
-- Returns 1; 0 where the id is known: the same id is the same job.

local known = redis.call('HMGET', record_key(call.id), 'state', 'process')
if known[1] then return known[1] == 'publishing' and known[2] == call.process and 1 or 0 end
redis.call('HSET', record_key(call.id), 'v', '1', 'state', 'publishing', 'process', call.process, 'fence', whole(now),
  'attempt', '1', 'model', call.model, 'priority', whole(call.priority), 'request', call.request,
  'catalog', call.catalog, 'link', call.link)
add_to_custody(call.id, call.process)
expect_message(call.id, whole(call.priority))
return 1
