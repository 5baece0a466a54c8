-- The next step of an item, in the caller's publishing custody, in the script that ends the one before: that one is made.
-- Its message goes to the head of the queue.
-- call: id, process, fence, attempt, model, request (JSON text: the next step's, with what was made and paid)
-- Returns 1; 0 where the caller has lost custody.

local record = read(call.id)
if not has(record) then
  -- This very step, already taken.
  return record and record.state == 'publishing' and record.process == call.process
    and tonumber(record.attempt) == call.attempt and 1 or 0
end
redis.call('HDEL', record_key(call.id), 'sent', 'sent_at', 'prediction', 'created', 'paid', 'pause',
  'attempts')
redis.call('HSET', record_key(call.id), 'attempt', whole(call.attempt), 'model', call.model, 'request', call.request)
publish_at_head(call.id, record)
return 1
