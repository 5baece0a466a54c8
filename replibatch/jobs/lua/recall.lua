-- Puts right what an older copy of the records does not know: a process says how far its generations are.
-- call: process, records (a list of {id, attempt_key, fields (object: field -> text), ms since each of: created, started; -1
--       for never, the webhook owed for its start, JSON text, or ''})
-- Returns for each 1, or 0 where the records know as much, or another process is further on.
--
-- A generation without a record still waits at the head of its batch: it is taken from there.

local LOOK_THROUGH = 2000 -- entries: what has left the list since the copy was made stood at its head
local LISTED_MS = 90000000

local function take_from_pending(batch, id)
  local pending = key('batch', batch, 'pending')
  for _, entry in ipairs(redis.call('LRANGE', pending, 0, LOOK_THROUGH - 1)) do
    if string.sub(entry, 1, #id + 1) == id .. '\t' then
      redis.call('LREM', pending, 1, entry)
      return
    end
  end
end

local function is_known(record, fields)
  if record.result or is_of_later_version(record) then return true end
  if tonumber(record.attempt) ~= tonumber(fields.attempt) then return tonumber(record.attempt) > tonumber(fields.attempt) end
  if record.prediction == fields.prediction and record.process == call.process and record.fence == fields.fence
    and record.state == 'running' then return true end
  return record.process ~= call.process and record.state == 'running' and (record.prediction or record.sent) and true or false
end

local restored = {}
for i, item in ipairs(call.records) do
  local id, attempt_key, fields, created_ago, started_ago, webhook = unpack(item)
  local record = read(id)
  restored[i] = 0
  if not record or not is_known(record, fields) then
    restored[i] = 1
    if record then expect_no_message(id, record) elseif fields.batch then take_from_pending(fields.batch, id) end
    put_in_custody(id, record or {}, call.process, 'running')
    redis.call('HDEL', record_key(id), 'sent', 'prediction', 'created', 'paid')
    for name, value in pairs(fields) do redis.call('HSET', record_key(id), name, value) end
    redis.call('HSET', record_key(id), 'v', VERSION)
    if created_ago >= 0 then redis.call('HSET', record_key(id), 'created', whole(now - created_ago)) end
    if started_ago >= 0 then redis.call('HSET', record_key(id), 'started', whole(now - started_ago)) end
    if fields.prediction then
      if webhook ~= '' and not (record and record.prediction) then
        redis.call('ZADD', key('webhooks'), whole(now), webhook)
      end
      redis.call('SET', key('prediction', fields.prediction), attempt_key, 'NX', 'PX', whole(LISTED_MS))
    end
    if fields.batch and redis.call('EXISTS', key('batch', fields.batch)) == 1 then
      redis.call('SADD', key('batch', fields.batch, 'out'), id)
    end
  end
end
return restored
