-- A task that starts takes custody of its generation.
-- call: id, attempt (the message's), process, taker (a name of this call's own, the same when it is repeated)
-- Returns the record as a flat list; an empty one where the task must step aside: the generation is in custody,
-- further on, finished, gone, or of a later version.

local record = read(call.id)
if not record or tonumber(record.attempt) ~= call.attempt or is_of_later_version(record) then return {} end
if record.state == 'queued' or record.state == 'publishing' then
  put_in_custody(call.id, record, call.process, 'running')
  expect_no_message(call.id, record)
  redis.call('HSET', record_key(call.id), 'taker', call.taker, 'taken', whole(now))
  redis.call('HINCRBY', record_key(call.id), 'fence', 1)
elseif record.state ~= 'running' or record.process ~= call.process or record.taker ~= call.taker then
  return {}
end
redis.call('HSETNX', record_key(call.id), 'started', whole(now))
give_notice()
local taken = flat_record(call.id)
if redis.call('SISMEMBER', key('canceling'), call.id) == 1 then
  taken[#taken + 1] = 'canceling'
  taken[#taken + 1] = '1'
end
return taken
