-- The reply to a create names a prediction: it belongs to this attempt from now on.
-- call: id, process, fence, attempt, attempt_key, prediction, webhook (the call owed for the start, JSON text, or '')
-- Returns 'ok'; 'twin' where another attempt has claimed it; 'fenced' where the caller has lost custody; 'gone' where the
-- record was lost with the rest of Redis' data: then the caller alone knows of the prediction.
--
-- Who has lost custody still claims it for an attempt that goes on without a prediction, lest a twin takes it. An
-- attempt that is over, or has its prediction, needs no other: a twin may still be searching for this one.

local LISTED_MS = 90000000 -- the longest a prediction runs, a day, and the hour its input is still in the list after that

local record = read(call.id)
local needs_one = not record or not record.result and tonumber(record.attempt) == call.attempt
  and (record.prediction or call.prediction) == call.prediction
if not needs_one then return 'fenced' end
local claim = key('prediction', call.prediction)
redis.call('SET', claim, call.attempt_key, 'NX', 'PX', whole(LISTED_MS))
if redis.call('GET', claim) ~= call.attempt_key then return 'twin' end
if not record then return 'gone' end
if not has(record) then return 'fenced' end
if call.webhook ~= '' and not record.prediction then redis.call('ZADD', key('webhooks'), whole(now), call.webhook) end
redis.call('HSET', record_key(call.id), 'prediction', call.prediction, 'created', whole(now))
return 'ok'
