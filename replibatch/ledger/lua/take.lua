-- A task that starts takes custody of its generation.
-- call: id, attempt (the message's), process
-- Returns the record as a flat list; an empty one where the task must step aside: the generation is somebody's,
-- further on, finished or gone.

local record = read(call.id)
if not record or tonumber(record.attempt) ~= call.attempt then return {} end
if record.state ~= 'queued' and record.state ~= 'publishing' then return {} end
put_in_custody(call.id, record, call.process, 'running')
redis.call('HINCRBY', record_key(call.id), 'fence', 1)
redis.call('HSETNX', record_key(call.id), 'started', whole(now))
local taken = redis.call('HGETALL', record_key(call.id))
if redis.call('SISMEMBER', key('canceling'), call.id) == 1 then
  taken[#taken + 1] = 'canceling'
  taken[#taken + 1] = '1'
end
return taken
